//! Throws hostile datagrams at one port of this machine, at a steady rate, for a bounded time.
//!
//!     flood PORT HOME RATE SECONDS SEED MATERIAL KIND...
//!
//! The destination is 127.0.0.1 and cannot be another: this is a test of our own reflector, no tool.  Sources are forged
//! within 127.0.0.0/8, which all of the loopback interface accepts; HOME is the port that all of it comes from, where the
//! attacker's own lines are.  Kinds share the rate evenly.  What was sent goes to
//! standard output as one line of JSON.  The material is what an attacker has seen or has: see `material.py`.

#[allow(dead_code)]
#[path = "../../../relay/media_reflector/forwarding/native/crypto.rs"]
mod crypto;
mod kinds;
#[allow(dead_code)]
#[path = "../../../relay/media_reflector/forwarding/native/sys.rs"]
mod sys;

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::exit;

use kinds::{Kind, Material, Source};

const MAX_RATE: u64 = 2_000_000;
const MAX_SECONDS: f64 = 120.0;
const BATCH: usize = 64;
/// Nanoseconds that a sender who could not keep up makes good; what is beyond that is not sent at all.
const MAX_LATE: u64 = 50_000_000;
/// Datagrams in a row from one forged source: the kernel takes them as one and cuts them up (UDP_SEGMENT, udp(7)).  One
/// by one, 200,000 in a second would take most of a core, which the lines need whose losses are counted.
const RUN: usize = 16;
/// Ancillary data with an `in_pktinfo` (ip(7)), 16 bytes of header, 12 of data, filled up to 8; then the size to cut.
const CONTROL_SIZE: usize = 32 + 24;
const IPPROTO_IP: i32 = 0;
const IP_PKTINFO: i32 = 8;
const IP_MTU_DISCOVER: i32 = 10;
const IP_PMTUDISC_PROBE: i32 = 3;
const IPPROTO_UDP: i32 = 17;
const UDP_SEGMENT: i32 = 103;

extern "C" {
    fn setsockopt(socket: i32, level: i32, name: i32, value: *const i32, size: u32) -> i32;
}

/// Chance for tests: xorshift64*, seeded, good for nothing else.
pub struct Chance(u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 32) as usize * end) >> 32
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_ne_bytes()[..chunk.len()]);
        }
    }
}

/// A source somewhere in 127.0.0.0/8, and where to cut, as ancillary data of one message.
fn forge(control: &mut [u8], source: [u8; 4], size: usize) {
    control[..8].copy_from_slice(&28usize.to_ne_bytes());
    control[8..12].copy_from_slice(&IPPROTO_IP.to_ne_bytes());
    control[12..16].copy_from_slice(&IP_PKTINFO.to_ne_bytes());
    control[16..20].fill(0);
    control[20..24].copy_from_slice(&source);
    control[24..28].fill(0);
    control[32..40].copy_from_slice(&18usize.to_ne_bytes());
    control[40..44].copy_from_slice(&IPPROTO_UDP.to_ne_bytes());
    control[44..48].copy_from_slice(&UDP_SEGMENT.to_ne_bytes());
    control[48..50].copy_from_slice(&(size as u16).to_ne_bytes());
}

/// How many datagrams of a size go together: none that is empty or that is large already.
fn run_of(size: usize) -> usize {
    if (1..=1472).contains(&size) {
        RUN
    } else {
        1
    }
}

fn fail(text: &str) -> ! {
    eprintln!("flood: {text}");
    exit(2)
}

/// A batch whose datagrams all have one size.
struct Salvo {
    size: usize,
    run: usize,
    messages: usize,
    batch: sys::Batch,
}

impl Salvo {
    fn new(size: usize, destination: &sys::Address) -> Salvo {
        let run = run_of(size);
        let messages = BATCH / run;
        let mut batch = sys::Batch::new(messages, size * run, CONTROL_SIZE);
        (0..messages).for_each(|i| assert!(batch.set_destination(i, destination, sys::AF_INET)));
        Salvo { size, run, messages, batch }
    }

    fn write(&mut self, kind: Kind, source: &mut Source, material: &mut Material, chance: &mut Chance) {
        for i in 0..self.messages {
            forge(self.batch.control_mut(i), kind.place(chance), self.size);
            for datagram in self.batch.datagram_mut(i).chunks_mut(self.size.max(1)) {
                source.write(kind, material, chance, datagram);
            }
        }
    }

    /// How many datagrams left and how many the kernel refused.
    fn send(&mut self, socket: i32) -> (u64, u64) {
        let (mut from, mut failed) = (0, 0);
        while from < self.messages {
            match self.batch.send(socket, from, self.messages) {
                Ok(count) => from += count,
                Err(_) => {
                    from += 1;
                    failed += 1;
                }
            }
        }
        (((self.messages - failed) * self.run) as u64, (failed * self.run) as u64)
    }
}

struct Order {
    port: u16,
    home: u16,
    rate: u64,
    seconds: f64,
    chance: Chance,
    material: Material,
    kinds: Vec<Kind>,
}

fn order() -> Result<Order, String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [port, home, rate, seconds, seed, material, kinds @ ..] = words.as_slice() else {
        return Err("PORT HOME RATE SECONDS SEED MATERIAL KIND...".into());
    };
    let port_of = |word: &String| word.parse::<u16>().map_err(|_| format!("{word:?} is no port"));
    let number = |word: &String| word.parse::<u64>().map_err(|_| format!("{word:?} is no number"));
    let order = Order {
        port: port_of(port)?,
        home: port_of(home)?,
        rate: number(rate)?,
        seconds: seconds.parse().map_err(|_| format!("{seconds:?} are no seconds"))?,
        chance: Chance(number(seed)? | 1),
        material: Material::read(material)?,
        kinds: kinds.iter().map(|word| Kind::named(word)).collect::<Result<_, _>>()?,
    };
    if order.kinds.is_empty() || !(1..=MAX_RATE).contains(&order.rate) || !(0.0..=MAX_SECONDS).contains(&order.seconds) {
        return Err(format!("takes a kind, up to {MAX_RATE} datagrams a second and up to {MAX_SECONDS} seconds"));
    }
    Ok(order)
}

fn main() {
    let mut order = order().unwrap_or_else(|text| fail(&text));
    let socket = UdpSocket::bind(("0.0.0.0", order.home)).unwrap_or_else(|error| fail(&error.to_string()));
    // SAFETY: reads four bytes that are there.  Refused, it only costs the sender more.
    unsafe { setsockopt(socket.as_raw_fd(), IPPROTO_IP, IP_MTU_DISCOVER, &IP_PMTUDISC_PROBE, 4) };
    let mut destination = [0u8; 18];
    destination[10..16].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1]);
    destination[16..].copy_from_slice(&order.port.to_be_bytes());
    let mut source = Source::new().unwrap_or_else(|text| fail(&text));
    let mut batches: Vec<Salvo> = kinds::SIZES.iter().map(|&size| Salvo::new(size, &destination)).collect();
    let (mut sent, mut failed, mut skipped) = (vec![0u64; order.kinds.len()], 0u64, 0u64);
    let nanoseconds = |datagrams: u64| datagrams * 1_000_000_000 / order.rate;
    let began = sys::monotonic();
    let end = began + (order.seconds * 1e9) as u64;
    let (mut due, mut turn) = (began, 0usize);
    sys::wake_exactly();
    while due < end {
        sys::sleep_until(due);
        let late = sys::monotonic().saturating_sub(due);
        if late > MAX_LATE {
            skipped += late * order.rate / 1_000_000_000;
            due += late;
        }
        let which = turn % order.kinds.len();
        let kind = order.kinds[which];
        let batch = &mut batches[kind.size(&mut order.chance)];
        batch.write(kind, &mut source, &mut order.material, &mut order.chance);
        let (went, not) = batch.send(socket.as_raw_fd());
        sent[which] += went;
        failed += not;
        due += nanoseconds(went + not);
        turn += 1;
    }
    let took = (sys::monotonic() - began) as f64 / 1e9;
    let by: Vec<String> = order.kinds.iter().zip(&sent).map(|(kind, count)| format!("\"{}\": {count}", kind.name())).collect();
    let all: u64 = sent.iter().sum();
    println!(
        "{{\"sent\": {all}, \"failed\": {failed}, \"skipped\": {skipped}, \"seconds\": {took:.3}, \"by\": {{{}}}}}",
        by.join(", ")
    );
}
