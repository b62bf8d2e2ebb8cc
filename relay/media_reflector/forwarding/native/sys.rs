//! The system calls that std does not have: datagrams in batches, sleep until a moment, an event to wake Python with.
//!
//! Linux only.  Everything unsafe about them ends here; what goes out of this file are slices and numbers.

use std::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use std::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void, CStr, CString};
use std::io::Error;
use std::ptr::{null, null_mut};

/// 16 bytes of IPv6 address (IPv4 mapped), 2 of port: as in face.py.
pub type Address = [u8; 18];

pub const EINTR: i32 = 4;
pub const EAGAIN: i32 = 11;
pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;

const NAME_SIZE: usize = 28;
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
const MSG_DONTWAIT: c_int = 0x40;
const CLOCK_MONOTONIC: c_int = 1;
const TIMER_ABSTIME: c_int = 1;
const PR_SET_TIMERSLACK: c_int = 29;
const SCHED_RR: c_int = 2;
const RTLD_NOW: c_int = 2;
const EFD_NONBLOCK: c_int = 0o4000;
const EFD_CLOEXEC: c_int = 0o2000000;
const BILLION: u64 = 1_000_000_000;

#[repr(C)]
struct IoVec {
    base: *mut u8,
    length: usize,
}

#[repr(C)]
struct Header {
    name: *mut u8,
    name_size: u32,
    vectors: *mut IoVec,
    vector_count: usize,
    control: *mut u8,
    control_size: usize,
    flags: c_int,
}

#[repr(C)]
struct Message {
    header: Header,
    length: c_uint,
}

#[repr(C)]
struct TimeSpec {
    seconds: c_long,
    nanoseconds: c_long,
}

extern "C" {
    fn recvmmsg(socket: c_int, messages: *mut Message, count: c_uint, flags: c_int, timeout: *const TimeSpec) -> c_int;
    fn sendmmsg(socket: c_int, messages: *mut Message, count: c_uint, flags: c_int) -> c_int;
    fn clock_gettime(clock: c_int, time: *mut TimeSpec) -> c_int;
    fn clock_nanosleep(clock: c_int, flags: c_int, time: *const TimeSpec, left: *mut TimeSpec) -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
    fn sched_setscheduler(thread: c_int, policy: c_int, priority: *const c_int) -> c_int;
    fn eventfd(value: c_uint, flags: c_int) -> c_int;
    fn write(descriptor: c_int, bytes: *const c_void, count: usize) -> isize;
    fn close(descriptor: c_int) -> c_int;
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

fn errno() -> i32 {
    Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Nanoseconds of CLOCK_MONOTONIC, the clock of Python's `time.monotonic`.
pub fn monotonic() -> u64 {
    let mut time = TimeSpec { seconds: 0, nanoseconds: 0 };
    // SAFETY: writes to `time` alone; this clock is always there.
    unsafe { clock_gettime(CLOCK_MONOTONIC, &mut time) };
    time.seconds as u64 * BILLION + time.nanoseconds as u64
}

/// Sleep until that nanosecond of CLOCK_MONOTONIC; a moment that is past returns at once.
pub fn sleep_until(nanosecond: u64) {
    let time = TimeSpec { seconds: (nanosecond / BILLION) as c_long, nanoseconds: (nanosecond % BILLION) as c_long };
    // SAFETY: reads `time` alone.  An interrupted sleep to an absolute moment is simply slept again.
    while unsafe { clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, null_mut()) } == EINTR {}
}

/// Let this thread's timers fire when they are due, not up to 50 us later together with others.
pub fn wake_exactly() {
    // SAFETY: takes one number and changes nothing but this thread's slack.  Refused, it only costs exactness.
    unsafe { prctl(PR_SET_TIMERSLACK, 1 as c_ulong, 0 as c_ulong, 0 as c_ulong, 0 as c_ulong) };
}

/// Let this thread run at its moment, before whatever else is busy, by the lowest real-time priority (sched(7)): root and
/// who has an RLIMIT_RTPRIO may.  Refused, it only costs exactness.
pub fn run_promptly() {
    let priority: c_int = 1;
    // SAFETY: `sched_param` is one int, read during the call; zero is this thread alone.
    unsafe { sched_setscheduler(0, SCHED_RR, &priority) };
}

/// A descriptor that becomes readable when it is signalled.
pub struct Event(c_int);

impl Event {
    pub fn new() -> Result<Self, String> {
        // SAFETY: takes two numbers.
        match unsafe { eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) } {
            -1 => Err("the system gave no event descriptor".into()),
            descriptor => Ok(Event(descriptor)),
        }
    }

    pub fn descriptor(&self) -> c_int {
        self.0
    }

    pub fn signal(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes are there to be read.  It can only fail when the count is full, and then it is readable.
        unsafe { write(self.0, one.as_ptr().cast(), one.len()) };
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours alone.
        unsafe { close(self.0) };
    }
}

/// A shared library that stays loaded; None where there is none of that name.
pub fn open_library(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name ends in zero.  The library's initialisers run: libcrypto's only set up itself.
    let library = unsafe { dlopen(name.as_ptr(), RTLD_NOW) };
    (!library.is_null()).then_some(library)
}

/// Where a library has a function; `library` comes from `open_library`.
pub fn find_symbol(library: *mut c_void, name: &str) -> Option<*mut c_void> {
    let name = CString::new(name).ok()?;
    // SAFETY: a handle that was never closed, a name that ends in zero.
    let symbol = unsafe { dlsym(library, name.as_ptr()) };
    (!symbol.is_null()).then_some(symbol)
}

/// Ask the processor to fetch the first `size` bytes at `place`, which will be used soon.
#[inline(always)]
pub fn prefetch<T>(place: &T, size: usize) {
    #[cfg(target_arch = "x86_64")]
    for offset in (0..size.min(std::mem::size_of::<T>())).step_by(64) {
        let place = (place as *const T).cast::<i8>();
        // SAFETY: a hint that never faults, and the place is inside a value that lives.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.add(offset)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (place, size);
}

/// What is packed in an address, for the socket of a family; None when that family cannot reach it.
pub fn name_of(address: &Address, family: u16, name: &mut [u8; NAME_SIZE]) -> Option<u32> {
    name[..2].copy_from_slice(&family.to_ne_bytes());
    name[2..4].copy_from_slice(&address[16..]);
    match family {
        AF_INET if address[..12] == MAPPED => {
            name[4..8].copy_from_slice(&address[12..16]);
            name[8..16].fill(0);
            Some(16)
        }
        AF_INET6 => {
            name[4..8].fill(0);
            name[8..24].copy_from_slice(&address[..16]);
            name[24..28].fill(0);
            Some(NAME_SIZE as u32)
        }
        _ => None,
    }
}

/// Whether an address is an IPv4 one.
pub fn is_ipv4(address: &Address) -> bool {
    address[..12] == MAPPED
}

fn address_of(name: &[u8]) -> Address {
    let mut address = [0; 18];
    address[16..].copy_from_slice(&name[2..4]);
    if name[..2] == AF_INET.to_ne_bytes() {
        address[..12].copy_from_slice(&MAPPED);
        address[12..16].copy_from_slice(&name[4..8]);
    } else {
        address[..16].copy_from_slice(&name[8..24]);
    }
    address
}

/// Zeroed memory of a fixed place, on a cache line of its own: the kernel is told where it is once and for all.
struct Memory {
    start: *mut u8,
    layout: Layout,
}

impl Memory {
    fn new(size: usize) -> Self {
        let layout = Layout::from_size_align(size.max(1), 64).expect("a batch is small");
        // SAFETY: the size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        Memory { start, layout }
    }

    fn bytes(&self, from: usize, size: usize) -> &[u8] {
        assert!(from + size <= self.layout.size());
        // SAFETY: inside the allocation, which is initialised; only `&mut self` of the batch lets anyone write to it.
        unsafe { std::slice::from_raw_parts(self.start.add(from), size) }
    }

    fn bytes_mut(&mut self, from: usize, size: usize) -> &mut [u8] {
        assert!(from + size <= self.layout.size());
        // SAFETY: as above, and `&mut self` says that nobody else looks.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), size) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and freed once.
        unsafe { dealloc(self.start, self.layout) };
    }
}

/// Room for `capacity` datagrams, with their addresses and, where wanted, ancillary data (cmsg(3)).
pub struct Batch {
    capacity: usize,
    stride: usize,
    size: usize,
    control_size: usize,
    data: Memory,
    names: Memory,
    // In the data plane none has any, and nobody looks.
    #[allow(dead_code)]
    controls: Memory,
    messages: Vec<Message>,
    // Only the kernel looks at it, through the pointers in `messages`.
    _vectors: Vec<IoVec>,
}

// SAFETY: the pointers lead to memory that the batch owns alone.
unsafe impl Send for Batch {}

impl Batch {
    /// `size` bytes for each datagram: what is longer is cut off on receipt and shows as `size` long.
    pub fn new(capacity: usize, size: usize, control_size: usize) -> Self {
        let stride = (size + 63) / 64 * 64;
        let data = Memory::new(capacity * stride);
        let names = Memory::new(capacity * 32);
        let controls = Memory::new(capacity * control_size);
        let mut vectors: Vec<IoVec> = (0..capacity)
            // SAFETY (here and below): each offset lies inside the memory just made for `capacity` of them.
            .map(|i| IoVec { base: unsafe { data.start.add(i * stride) }, length: size })
            .collect();
        let first = vectors.as_mut_ptr();
        let messages = (0..capacity)
            .map(|i| Message {
                header: Header {
                    name: unsafe { names.start.add(i * 32) },
                    name_size: NAME_SIZE as u32,
                    vectors: unsafe { first.add(i) },
                    vector_count: 1,
                    control: if control_size == 0 {
                        null_mut()
                    } else {
                        unsafe { controls.start.add(i * control_size) }
                    },
                    control_size,
                    flags: 0,
                },
                length: 0,
            })
            .collect();
        Batch { capacity, stride, size, control_size, data, names, controls, messages, _vectors: vectors }
    }

    /// Take what waits on a socket, at most `capacity` datagrams, without waiting.  The error is the system's number.
    pub fn receive(&mut self, socket: c_int) -> Result<usize, i32> {
        for message in &mut self.messages {
            message.header.name_size = NAME_SIZE as u32;
            message.header.control_size = self.control_size;
        }
        // SAFETY: the messages point to memory of the sizes they say, which lives as long as `self`.
        let count =
            unsafe { recvmmsg(socket, self.messages.as_mut_ptr(), self.capacity as c_uint, MSG_DONTWAIT, null()) };
        usize::try_from(count).map_err(|_| errno())
    }

    /// Send the datagrams from `from` up to `to`: how many left, one at least, else the system's number of the error,
    /// which is about the first of them.
    pub fn send(&mut self, socket: c_int, from: usize, to: usize) -> Result<usize, i32> {
        let messages = &mut self.messages[from..to];
        // SAFETY: as in `receive`.
        let count = unsafe { sendmmsg(socket, messages.as_mut_ptr(), messages.len() as c_uint, MSG_DONTWAIT) };
        usize::try_from(count).map_err(|_| errno())
    }

    /// A received datagram.
    #[inline]
    pub fn datagram(&self, i: usize) -> &[u8] {
        self.data.bytes(i * self.stride, (self.messages[i].length as usize).min(self.size))
    }

    /// Where a received datagram came from.
    #[inline]
    pub fn source(&self, i: usize) -> Address {
        address_of(self.names.bytes(i * 32, NAME_SIZE))
    }

    /// All the bytes of a datagram to be sent.
    #[inline]
    pub fn datagram_mut(&mut self, i: usize) -> &mut [u8] {
        assert!(i < self.capacity);
        self.data.bytes_mut(i * self.stride, self.size)
    }

    /// Say where a datagram goes, on a socket of this family; False when that family cannot reach it.
    #[inline]
    pub fn set_destination(&mut self, i: usize, address: &Address, family: u16) -> bool {
        let name = self.names.bytes_mut(i * 32, NAME_SIZE).try_into().expect("as long as it says");
        match name_of(address, family, name) {
            Some(size) => {
                self.messages[i].header.name_size = size;
                true
            }
            None => false,
        }
    }
}

// For the load generator, which is built from this file too.
#[allow(dead_code)]
impl Batch {
    /// Ancillary data of a received datagram.
    pub fn control(&self, i: usize) -> &[u8] {
        let size = self.messages[i].header.control_size.min(self.control_size);
        self.controls.bytes(i * self.control_size, size)
    }

    /// Ancillary data of a datagram to be sent, all `control_size` bytes.
    pub fn control_mut(&mut self, i: usize) -> &mut [u8] {
        self.messages[i].header.control_size = self.control_size;
        self.controls.bytes_mut(i * self.control_size, self.control_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    fn packed(socket: &UdpSocket) -> Address {
        let address = socket.local_addr().unwrap();
        let mut packed = [0; 18];
        let ip = match address.ip() {
            std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            std::net::IpAddr::V6(ip) => ip,
        };
        packed[..16].copy_from_slice(&ip.octets());
        packed[16..].copy_from_slice(&address.port().to_be_bytes());
        packed
    }

    fn round(host: &str, family: u16) {
        let (one, other) = (UdpSocket::bind((host, 0)).unwrap(), UdpSocket::bind((host, 0)).unwrap());
        let mut out = Batch::new(4, 160, 0);
        for i in 0..4 {
            out.datagram_mut(i).fill(i as u8);
            assert!(out.set_destination(i, &packed(&other), family));
        }
        assert_eq!(out.send(one.as_raw_fd(), 0, 4), Ok(4));
        one.send_to(&[9; 1000], other.local_addr().unwrap()).unwrap();
        let mut back = Batch::new(8, 192, 0);
        assert_eq!(back.receive(other.as_raw_fd()), Ok(5));
        for i in 0..4 {
            assert_eq!(back.datagram(i), [i as u8; 160]);
            assert_eq!(back.source(i), packed(&one));
        }
        assert_eq!(back.datagram(4).len(), 192);
        assert_eq!(back.receive(other.as_raw_fd()), Err(EAGAIN));
    }

    #[test]
    fn datagrams_go_there_and_back() {
        round("127.0.0.1", AF_INET);
        round("::1", AF_INET6);
    }

    #[test]
    fn an_ipv4_socket_reaches_no_ipv6_address() {
        assert_eq!(name_of(&[1; 18], AF_INET, &mut [0; NAME_SIZE]), None);
    }

    #[test]
    fn sleeps_to_a_moment() {
        wake_exactly();
        let edge = monotonic() + 2_000_000;
        sleep_until(edge);
        assert!(monotonic() >= edge);
        sleep_until(0);
    }
}
