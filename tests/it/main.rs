//! The one test binary: one area a file, each against the real program.
#![cfg(test)]
#![expect(unreachable_pub, reason = "nobody uses this crate but itself")]

mod access;
mod api;
mod auto;
mod check;
mod clients;
mod commands;
mod credentials;
mod delivery;
mod dev;
mod doctor;
mod durability;
mod edge;
mod edge_nginx;
mod edge_verifiers;
mod edges;
mod files;
mod hits;
mod hostile;
mod idempotency;
mod issuer;
mod jpegs;
mod listener;
mod masters;
mod memory;
mod nginx;
mod options;
mod originals;
mod pictures;
mod purges;
mod readme;
mod referee;
mod rules;
mod serve;
mod sharing;
mod stand_in;
mod support;
mod sweep;
mod tiers;
mod tls;
mod tus;
mod tus_client;
mod two_nodes;
mod upload;
mod ways_in;
