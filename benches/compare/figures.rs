//! What was measured: medians, and the ratios to the bare loop.

use std::collections::HashMap;
use std::io;

use fanfare::bench::message::ENVELOPE;
use fanfare::bench::page::verdict;

use crate::round::Round;
use crate::server::Server;

/// All of it.
#[derive(Default)]
pub struct Figures {
    /// Deliveries in a second, by column and server, a place for each round.
    rates: HashMap<(&'static str, Server), Vec<Option<f64>>>,
    /// Bytes a session.
    idle: HashMap<Server, f64>,
    /// What each server did wrong first.
    faults: HashMap<(&'static str, Server), String>,
    envelope: Option<usize>,
}

/// A server in a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// Median of the rounds: deliveries in a second.
    pub rate: f64,
    /// Median of the rounds' ratios to the bare loop.
    pub ratio: f64,
}

impl Figures {
    /// The bytes of a message's frame beside topic and data, as Fanfare has it.
    pub fn envelope(&self) -> usize {
        self.envelope.unwrap_or(ENVELOPE)
    }

    /// Takes note of a round.
    pub fn add(
        &mut self,
        column: &'static str,
        number: usize,
        server: Server,
        round: io::Result<Round>,
    ) {
        let rate = match round {
            Ok(round) => {
                if server == Server::Fanfare {
                    self.envelope = self.envelope.or(round.outcome.envelope);
                }
                if !round.outcome.faults.none() {
                    let complaint = round.outcome.complaint.unwrap_or_default();
                    let told = format!("{} {complaint}", verdict(&round.outcome.faults));
                    self.faults.entry((column, server)).or_insert(told);
                }
                Some(round.rate)
            }
            Err(error) => {
                let told = error.to_string();
                self.faults.entry((column, server)).or_insert(told);
                None
            }
        };
        let rates = self.rates.entry((column, server)).or_default();
        rates.resize(number, None);
        rates.push(rate);
    }

    /// Takes note of a server's memory for a session.
    pub fn add_idle(&mut self, server: Server, bytes: io::Result<f64>) {
        match bytes {
            Ok(bytes) => drop(self.idle.insert(server, bytes)),
            Err(error) => drop(self.faults.insert(("idle", server), error.to_string())),
        }
    }

    /// A server in a column; none where it could not be measured.
    pub fn of(&self, column: &'static str, server: Server) -> Option<Figure> {
        let rates = self.rates.get(&(column, server))?;
        let bare = self.rates.get(&(column, Server::Bare))?;
        let ratios = rates
            .iter()
            .zip(bare)
            .filter_map(|(rate, bare)| Some(rate.as_ref()? / bare.as_ref()?));
        Some(Figure {
            rate: median(rates.iter().flatten().copied())?,
            ratio: median(ratios)?,
        })
    }

    /// Bytes a session.
    pub fn idle(&self, server: Server) -> Option<f64> {
        self.idle.get(&server).copied()
    }

    /// What a server did wrong in a column.
    pub fn fault(&self, column: &'static str, server: Server) -> Option<&str> {
        self.faults.get(&(column, server)).map(String::as_str)
    }

    /// Prints a column.
    pub fn print(&self, column: &'static str, servers: &[Server]) {
        for server in servers {
            let name = server.name();
            match self.of(column, *server) {
                Some(figure) => println!(
                    "{column:<12} {name:<10} {:>12.0} deliveries/s   ratio {:.3}",
                    figure.rate, figure.ratio
                ),
                None => println!("{column:<12} {name:<10}            –"),
            }
            if let Some(fault) = self.fault(column, *server) {
                println!("    {fault}");
            }
        }
    }

    /// Prints what sessions take.
    pub fn print_idle(&self, servers: &[Server]) {
        for server in servers {
            let name = server.name();
            match self.idle(*server) {
                Some(bytes) => println!("{:<12} {name:<10} {:>9.2} KB", "idle", bytes / 1024.0),
                None => println!("{:<12} {name:<10}         –", "idle"),
            }
            if let Some(fault) = self.fault("idle", *server) {
                println!("    {fault}");
            }
        }
    }
}

fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let low = *values.get(values.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(low, values[values.len() / 2]))
}
