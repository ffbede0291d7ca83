//! All integration tests in one binary, which links once. They run against real servers that the tests start
//! themselves, on loopback; one that is missing on the machine fails its tests with a word on how to get it.

// Helpers offer what a test would expect of them, whether or not one asks for it today.
#![allow(dead_code)]
// A test's helper may panic: that is how it tells.
#![allow(clippy::unwrap_used)]

mod breakages;
mod certs;
mod cluster;
mod commands;
mod connection;
mod contributing;
mod demo;
mod dist;
mod docs;
mod drain;
mod exec;
mod history;
mod honesty;
mod hostile_text;
mod https;
mod image;
mod log_output;
mod map;
mod operators;
mod page;
mod pool;
mod pool_faults;
mod pool_life;
mod process;
mod prometheus;
mod release;
mod reload;
mod scrape;
mod scripted;
mod secrets;
mod servers;
mod supervise;
mod watch;
mod web;
mod web_config;
mod wire;
