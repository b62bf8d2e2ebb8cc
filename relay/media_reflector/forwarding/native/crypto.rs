//! AES-128-GCM (RFC 5116) out of the machine's own libcrypto, loaded at run time: nothing is linked, no header needed.
//!
//! One context seals and one opens, both hot in the cache; a key is 16 bytes of a line and goes in anew for each cell.
//! That is faster than a context for each line, which would have to come from memory (FACTS: "Data plane").

use std::ffi::{c_char, c_int, c_void, CStr};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use crate::sys;

pub const TAG_SIZE: usize = 16;
pub type Key = [u8; 16];
pub type Nonce = [u8; 12];

const NAMES: [&CStr; 3] = [
    // SAFETY: each ends in its only zero byte.  (C string literals came after the compiler that is asked for.)
    unsafe { CStr::from_bytes_with_nul_unchecked(b"libcrypto.so.3\0") },
    unsafe { CStr::from_bytes_with_nul_unchecked(b"libcrypto.so.4\0") },
    unsafe { CStr::from_bytes_with_nul_unchecked(b"libcrypto.so\0") },
];
const CTRL_GET_TAG: c_int = 0x10;
const CTRL_SET_TAG: c_int = 0x11;

type Context = c_void;
type Init = unsafe extern "C" fn(*mut Context, *const c_void, *mut c_void, *const u8, *const u8) -> c_int;
type Update = unsafe extern "C" fn(*mut Context, *mut u8, *mut c_int, *const u8, c_int) -> c_int;
type Final = unsafe extern "C" fn(*mut Context, *mut u8, *mut c_int) -> c_int;

/// The functions of libcrypto that are called, and the cipher fetched once.
struct Library {
    new: unsafe extern "C" fn() -> *mut Context,
    free: unsafe extern "C" fn(*mut Context),
    ctrl: unsafe extern "C" fn(*mut Context, c_int, c_int, *mut c_void) -> c_int,
    encrypt_init: Init,
    encrypt_update: Update,
    encrypt_final: Final,
    decrypt_init: Init,
    decrypt_update: Update,
    decrypt_final: Final,
    cipher: *const c_void,
    block_cipher: *const c_void,
    version: String,
}

// SAFETY: functions may be called from any thread, and a fetched cipher is never changed or freed (EVP_CIPHER_fetch(3)).
unsafe impl Send for Library {}
unsafe impl Sync for Library {}

fn library() -> Result<&'static Library, String> {
    static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
    LIBRARY.get_or_init(load).as_ref().map_err(Clone::clone)
}

/// What libcrypto calls itself, such as "OpenSSL 3.0.19 27 Jan 2026".
pub fn version() -> Result<&'static str, String> {
    library().map(|library| library.version.as_str())
}

fn load() -> Result<Library, String> {
    let handle = NAMES
        .iter()
        .find_map(|name| sys::open_library(name))
        .ok_or("there is no libcrypto of OpenSSL 3 on this machine")?;
    let symbol = |name: &str| {
        sys::find_symbol(handle, name).ok_or_else(|| format!("libcrypto lacks {name}; OpenSSL 3.0 or newer is needed"))
    };
    // SAFETY: the types are those of OpenSSL's evp.h and crypto.h; a function's name says its type.
    unsafe {
        let fetch: unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> *const c_void =
            std::mem::transmute(symbol("EVP_CIPHER_fetch")?);
        let version: unsafe extern "C" fn(c_int) -> *const c_char = std::mem::transmute(symbol("OpenSSL_version")?);
        let cipher = fetch(null_mut(), b"AES-128-GCM\0".as_ptr().cast(), null());
        let block_cipher = fetch(null_mut(), b"AES-128-ECB\0".as_ptr().cast(), null());
        if cipher.is_null() || block_cipher.is_null() {
            return Err("libcrypto offers no AES-128-GCM".into());
        }
        Ok(Library {
            new: std::mem::transmute(symbol("EVP_CIPHER_CTX_new")?),
            free: std::mem::transmute(symbol("EVP_CIPHER_CTX_free")?),
            ctrl: std::mem::transmute(symbol("EVP_CIPHER_CTX_ctrl")?),
            encrypt_init: std::mem::transmute(symbol("EVP_EncryptInit_ex")?),
            encrypt_update: std::mem::transmute(symbol("EVP_EncryptUpdate")?),
            encrypt_final: std::mem::transmute(symbol("EVP_EncryptFinal_ex")?),
            decrypt_init: std::mem::transmute(symbol("EVP_DecryptInit_ex")?),
            decrypt_update: std::mem::transmute(symbol("EVP_DecryptUpdate")?),
            decrypt_final: std::mem::transmute(symbol("EVP_DecryptFinal_ex")?),
            cipher,
            block_cipher,
            version: CStr::from_ptr(version(0)).to_string_lossy().into_owned(),
        })
    }
}

/// A context for each direction, for one thread at a time.
pub struct Aead {
    library: &'static Library,
    seal: *mut Context,
    open: *mut Context,
}

// SAFETY: a context belongs to no thread; `&mut self` keeps two from using it at once.
unsafe impl Send for Aead {}

impl Aead {
    /// Fails, with a sentence for the operator, where there is no libcrypto that will do.
    pub fn new() -> Result<Self, String> {
        let library = library()?;
        // SAFETY: a null pointer is asked for below; initialising with a cipher and no key is what evp.h allows.
        unsafe {
            let aead = Aead { library, seal: (library.new)(), open: (library.new)() };
            let ready = !aead.seal.is_null()
                && !aead.open.is_null()
                && (library.encrypt_init)(aead.seal, library.cipher, null_mut(), null(), null()) == 1
                && (library.decrypt_init)(aead.open, library.cipher, null_mut(), null(), null()) == 1;
            if ready {
                Ok(aead)
            } else {
                Err("libcrypto gave no context for AES-128-GCM".into())
            }
        }
    }

    /// Writes ciphertext and tag of `plain` to `out`, which must be `TAG_SIZE` longer.  False (never seen) when
    /// libcrypto fails; `out` must not leave then.
    #[inline]
    pub fn seal(&mut self, key: &Key, nonce: &Nonce, aad: &[u8], plain: &[u8], out: &mut [u8]) -> bool {
        assert_eq!(out.len(), plain.len() + TAG_SIZE);
        let (text, tag) = out.split_at_mut(plain.len());
        let library = self.library;
        let mut length: c_int = 0;
        // SAFETY: the context lives as long as `self`; every pointer comes from a slice that is as long as what is
        // said beside it, `text` as long as `plain`; GCM writes nothing in `final` and `TAG_SIZE` bytes of tag.
        unsafe {
            (library.encrypt_init)(self.seal, null(), null_mut(), key.as_ptr(), nonce.as_ptr()) == 1
                && (aad.is_empty()
                    || (library.encrypt_update)(self.seal, null_mut(), &mut length, aad.as_ptr(), size(aad)) == 1)
                && (plain.is_empty()
                    || (library.encrypt_update)(self.seal, text.as_mut_ptr(), &mut length, plain.as_ptr(), size(plain))
                        == 1)
                && (library.encrypt_final)(self.seal, tag.as_mut_ptr(), &mut length) == 1
                && (library.ctrl)(self.seal, CTRL_GET_TAG, TAG_SIZE as c_int, tag.as_mut_ptr().cast()) == 1
        }
    }

    /// Writes the plain text of `sealed` (ciphertext and tag) to `out`, which must be `TAG_SIZE` shorter.  False when it
    /// is not authentic; what `out` holds then is nobody's.
    #[inline]
    pub fn open(&mut self, key: &Key, nonce: &Nonce, aad: &[u8], sealed: &[u8], out: &mut [u8]) -> bool {
        assert_eq!(sealed.len(), out.len() + TAG_SIZE);
        let (text, tag) = sealed.split_at(out.len());
        let mut tag: [u8; TAG_SIZE] = tag.try_into().expect("the length was just tested");
        let library = self.library;
        let mut length: c_int = 0;
        let mut nothing = [0u8; TAG_SIZE];
        // SAFETY: as in `seal`; the tag is copied because `ctrl` takes a pointer that it could write to.
        unsafe {
            (library.decrypt_init)(self.open, null(), null_mut(), key.as_ptr(), nonce.as_ptr()) == 1
                && (aad.is_empty()
                    || (library.decrypt_update)(self.open, null_mut(), &mut length, aad.as_ptr(), size(aad)) == 1)
                && (text.is_empty()
                    || (library.decrypt_update)(self.open, out.as_mut_ptr(), &mut length, text.as_ptr(), size(text))
                        == 1)
                && (library.ctrl)(self.open, CTRL_SET_TAG, TAG_SIZE as c_int, tag.as_mut_ptr().cast()) == 1
                && (library.decrypt_final)(self.open, nothing.as_mut_ptr(), &mut length) == 1
        }
    }
}

impl Drop for Aead {
    fn drop(&mut self) {
        // SAFETY: made by EVP_CIPHER_CTX_new or null, which EVP_CIPHER_CTX_free takes; nobody else has them.
        unsafe {
            (self.library.free)(self.seal);
            (self.library.free)(self.open);
        }
    }
}

/// AES-128 of single blocks under one key that stays.
pub struct Block {
    library: &'static Library,
    context: *mut Context,
}

// SAFETY: as for `Aead`.
unsafe impl Send for Block {}

impl Block {
    pub fn new(key: &Key) -> Result<Self, String> {
        let library = library()?;
        // SAFETY: a null context is asked for; the key has the size that this cipher reads, and it reads no IV.
        unsafe {
            let block = Block { library, context: (library.new)() };
            let ready = !block.context.is_null()
                && (library.encrypt_init)(block.context, library.block_cipher, null_mut(), key.as_ptr(), null()) == 1;
            if ready {
                Ok(block)
            } else {
                Err("libcrypto gave no context for AES-128".into())
            }
        }
    }

    /// None (never seen) when libcrypto fails.
    #[inline]
    pub fn encipher(&mut self, block: &[u8; 16]) -> Option<[u8; 16]> {
        let mut out = [0; 16];
        let mut length: c_int = 0;
        // SAFETY: a whole block goes in, so one block comes out at once; `out` has room for it.
        let done =
            unsafe { (self.library.encrypt_update)(self.context, out.as_mut_ptr(), &mut length, block.as_ptr(), 16) };
        (done == 1 && length == 16).then_some(out)
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: as for `Aead`.
        unsafe { (self.library.free)(self.context) };
    }
}

fn size(bytes: &[u8]) -> c_int {
    c_int::try_from(bytes.len()).expect("a cell is short")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 2 of the GCM specification (McGrew and Viega), as in NIST's vectors.
    #[test]
    fn seals_as_the_specification_says() {
        let mut out = [0u8; 32];
        let mut aead = Aead::new().unwrap();
        assert!(aead.seal(&[0; 16], &[0; 12], &[], &[0; 16], &mut out));
        assert_eq!(out[..4], [0x03, 0x88, 0xda, 0xce]);
        assert_eq!(out[16..], 0xab6e47d42cec13bdf53a67b21257bddfu128.to_be_bytes());
    }

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let (mut out, mut back) = ([0u8; 148], [0u8; 132]);
        let mut aead = Aead::new().unwrap();
        assert!(aead.seal(&[7; 16], &[8; 12], &[9; 12], &[10; 132], &mut out));
        assert!(aead.open(&[7; 16], &[8; 12], &[9; 12], &out, &mut back));
        assert_eq!(back, [10; 132]);
        for (key, nonce, aad) in [([1; 16], [8; 12], [9; 12]), ([7; 16], [1; 12], [9; 12]), ([7; 16], [8; 12], [1; 12])]
        {
            assert!(!aead.open(&key, &nonce, &aad, &out, &mut back));
        }
        for at in 0..out.len() {
            out[at] ^= 1;
            assert!(!aead.open(&[7; 16], &[8; 12], &[9; 12], &out, &mut back));
            out[at] ^= 1;
        }
        assert!(aead.open(&[7; 16], &[8; 12], &[9; 12], &out, &mut back));
    }

    #[test]
    fn a_tag_over_nothing_is_a_tag() {
        let mut tag = [0u8; 16];
        assert!(Aead::new().unwrap().seal(&[0; 16], &[0; 12], &[], &[], &mut tag));
        assert_eq!(tag, 0x58e2fccefa7e3061367f1d57a4e7455au128.to_be_bytes());
    }
}
