//! The native data plane of a reflector: what `face.Forwarding` says, in one library without dependencies.
//!
//! Unsafe code is in `sys` (system calls), `crypto` (libcrypto) and `ffi` (Python); the rest cannot have any.

mod crypto;
mod ffi;
mod sys;

#[forbid(unsafe_code)]
mod counters;
#[forbid(unsafe_code)]
mod depart;
#[forbid(unsafe_code)]
mod gate;
#[forbid(unsafe_code)]
mod limit;
#[forbid(unsafe_code)]
mod line;
#[forbid(unsafe_code)]
mod plane;
#[forbid(unsafe_code)]
mod receive;
#[forbid(unsafe_code)]
mod replay;
#[forbid(unsafe_code)]
mod table;
#[forbid(unsafe_code)]
mod upcalls;
#[forbid(unsafe_code)]
mod worker;
