//! The program as a client of a real broker, and what it writes for newcomers.

mod benching;
mod keeping;
mod publishing;
mod starting;
mod subscribing;
