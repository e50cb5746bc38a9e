//! The rooms that read what strangers send, as the targets meet them.
//!
//! Whatever is a link in this folder is the program's own file: the same code, without what takes long to
//! build with a sanitizer, which is database, bucket and TLS. [`error`] and [`config`] are stand-ins, since
//! the real ones know everybody.

#![allow(dead_code, unused_imports, reason = "the program uses what no target does")]

pub mod access;
pub mod carriers;
pub mod clock;
pub mod config;
pub mod error;
pub mod id;
pub mod identity;
pub mod ingest;
pub mod link;
pub mod pictures;
pub mod render;
mod samples;
pub mod seeds;
mod spelled;
pub mod web;
