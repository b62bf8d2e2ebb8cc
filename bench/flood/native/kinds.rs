//! What hostile datagrams look like, and what an attacker makes them of.

use crate::crypto::Aead;
use crate::Chance;

pub const CELL: usize = 160;
const HEADER: usize = 12;
const PAYLOAD: usize = CELL - HEADER - 16;
/// Link type and operation (relay/media_reflector/control.py).
const CONTROL: u8 = 2;
const JOIN: u8 = 1;

/// Sizes of garbage: all that end, or begin, something; most up to an Ethernet's, few beyond.  The first is a cell's.
pub const SIZES: [usize; 24] = [
    CELL, 0, 1, 2, 11, 12, 13, 28, 64, 100, 128, 144, 159, 161, 172, 192, 256, 320, 512, 900, 1200, 1472, 4000, 9000,
];
/// Of those, the ones that no network but loopback passes whole; rare.
const LARGE: usize = 2;

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// Random bytes of all sizes.
    Garbage,
    /// Random bytes that look like a cell from outside.
    Shaped,
    /// The same under SSRCs of open lines, near what they send.
    Known,
    /// Cells that lines sent some time ago, unchanged.
    Replayed,
    /// A first message seen on the wire, with some bytes damaged.
    Half,
    /// A first message seen on the wire, unchanged, from everywhere.
    Repeated,
    /// Authentic cells of the attacker's own lines, from everywhere.
    Wandering,
    /// Control in authentic cells of the attacker's own lines, from where those are: join codes that nobody else has.
    Talkative,
}

const KINDS: [(Kind, &str); 8] = [
    (Kind::Garbage, "garbage"),
    (Kind::Shaped, "shaped"),
    (Kind::Known, "known"),
    (Kind::Replayed, "replayed"),
    (Kind::Half, "half"),
    (Kind::Repeated, "repeated"),
    (Kind::Wandering, "wandering"),
    (Kind::Talkative, "talkative"),
];

impl Kind {
    pub fn named(name: &str) -> Result<Kind, String> {
        let found = KINDS.iter().find(|(_, other)| *other == name);
        found.map(|(kind, _)| *kind).ok_or_else(|| format!("there is no kind {name:?}"))
    }

    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).expect("every kind has a name").1
    }

    /// Where the next datagrams claim to come from.
    pub fn place(self, chance: &mut Chance) -> [u8; 4] {
        let at = chance.next();
        match self {
            Kind::Talkative => [127, 0, 0, 1],
            _ => [127, 1 + (at >> 8) as u8 % 250, (at >> 16) as u8, 1 + (at >> 24) as u8 % 250],
        }
    }

    /// Which of `SIZES` the next batch has.
    pub fn size(self, chance: &mut Chance) -> usize {
        match self {
            Kind::Garbage if chance.below(256) == 0 => SIZES.len() - 1 - chance.below(LARGE),
            Kind::Garbage => chance.below(SIZES.len() - LARGE),
            _ => 0,
        }
    }
}

/// An open line of the attacker's own: 16 bytes of key, 12 of salt, 4 of SSRC, and the next packet's index.
struct Own {
    key: [u8; 16],
    salt: [u8; 12],
    ssrc: [u8; 4],
    index: u64,
}

/// What the attacker has: records of one byte of sort and 160 of content, as `material.py` writes them.
pub struct Material {
    cells: Vec<[u8; CELL]>,
    first: Vec<[u8; CELL]>,
    own: Vec<Own>,
    turn: usize,
}

impl Material {
    pub fn read(path: &str) -> Result<Material, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
        let mut material = Material { cells: vec![], first: vec![], own: vec![], turn: 0 };
        for record in bytes.chunks(1 + CELL) {
            let cell: [u8; CELL] = record[1..].try_into().map_err(|_| format!("{path} ends in half a record"))?;
            match record[0] {
                1 => material.cells.push(cell),
                2 => material.first.push(cell),
                3 => material.own.push(Own {
                    key: cell[..16].try_into().expect("sixteen"),
                    salt: cell[16..28].try_into().expect("twelve"),
                    ssrc: cell[28..32].try_into().expect("four"),
                    index: u64::from(u32::from_be_bytes(cell[32..36].try_into().expect("four"))),
                }),
                sort => return Err(format!("{path} has a record of sort {sort}")),
            }
        }
        Ok(material)
    }
}

fn some<'a>(of: &'a [[u8; CELL]], chance: &mut Chance) -> &'a [u8; CELL] {
    if of.is_empty() {
        crate::fail("this kind needs material that is not there");
    }
    &of[chance.below(of.len())]
}

/// Writes the datagrams.
pub struct Source {
    aead: Aead,
}

impl Source {
    pub fn new() -> Result<Source, String> {
        Ok(Source { aead: Aead::new()? })
    }

    pub fn write(&mut self, kind: Kind, material: &mut Material, chance: &mut Chance, out: &mut [u8]) {
        match kind {
            Kind::Garbage => chance.fill(out),
            Kind::Shaped => {
                chance.fill(out);
                out[..2].copy_from_slice(&[0x80, 111]);
            }
            Kind::Known => {
                chance.fill(out);
                let seen = some(&material.cells, chance);
                out[..2].copy_from_slice(&[0x80, 111]);
                // Within some seconds of what the line sends, before and after.
                let sequence_number = u16::from_be_bytes([seen[2], seen[3]]).wrapping_add(chance.below(4096) as u16);
                out[2..4].copy_from_slice(&sequence_number.to_be_bytes());
                out[8..HEADER].copy_from_slice(&seen[8..HEADER]);
            }
            Kind::Replayed => out.copy_from_slice(some(&material.cells, chance)),
            Kind::Half => {
                out.copy_from_slice(some(&material.first, chance));
                for _ in 0..1 + chance.below(4) {
                    // Behind the ticket's number: that one is right, or nobody would look at the rest.
                    let at = 28 + chance.below(CELL - 28);
                    out[at] ^= 1 + chance.below(255) as u8;
                }
                // Another SSRC each time, as many newcomers would have.
                chance.fill(&mut out[8..HEADER]);
            }
            Kind::Repeated => out.copy_from_slice(some(&material.first, chance)),
            // Type and body of chaff are zero.
            Kind::Wandering => self.seal(material, &[0; PAYLOAD], out),
            Kind::Talkative => {
                let mut payload = [0; PAYLOAD];
                chance.fill(&mut payload);
                payload[..2].copy_from_slice(&[CONTROL, JOIN]);
                self.seal(material, &payload, out);
            }
        }
    }

    fn seal(&mut self, material: &mut Material, payload: &[u8; PAYLOAD], out: &mut [u8]) {
        if material.own.is_empty() {
            crate::fail("this kind needs lines of one's own");
        }
        material.turn = (material.turn + 1) % material.own.len();
        let own = &mut material.own[material.turn];
        out[..HEADER].fill(0);
        out[..2].copy_from_slice(&[0x80, 111]);
        out[2..4].copy_from_slice(&(own.index as u16).to_be_bytes());
        out[8..HEADER].copy_from_slice(&own.ssrc);
        let mut nonce = own.salt;
        // RFC 7714 section 8.1.
        let counter = u64::from(u32::from_be_bytes(own.ssrc)) as u128 * (1 << 48) + own.index as u128;
        nonce.iter_mut().zip(&counter.to_be_bytes()[4..]).for_each(|(byte, other)| *byte ^= other);
        let (header, sealed) = out.split_at_mut(HEADER);
        assert!(self.aead.seal(&own.key, &nonce, header, payload, sealed));
        own.index += 1;
    }
}
