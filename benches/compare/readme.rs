//! The README's table, between its markers.

use std::fs;
use std::io;
use std::path::Path;

use jiff::Zoned;

use crate::figures::Figures;
use crate::round::COLUMNS;
use crate::server::{Place, Server};

const BEGIN: &str = "<!-- compare: written by benches/compare/run, not by hand -->\n";
const END: &str = "<!-- compare: end -->\n";

/// How it was measured.
pub struct How<'a> {
    /// Rounds of each server in each column.
    pub rounds: u32,
    /// How long each was.
    pub seconds: f64,
    /// The sessions whose memory was measured.
    pub idle: usize,
    /// The plot, if one was drawn.
    pub picture: Option<&'a Path>,
}

/// The table, and how it came about.
pub fn block(place: &Place, servers: &[Server], figures: &Figures, how: &How<'_>) -> String {
    let How {
        rounds,
        seconds,
        idle,
        picture,
    } = *how;
    let mut out = String::new();
    if let Some(picture) = picture {
        let says = "Deliveries a second, as a ratio to a bare write loop";
        out.push_str(&format!("![{says}]({})\n\n", picture.display()));
    }
    out.push_str("| server |");
    for column in COLUMNS {
        out.push_str(&format!(" {} |", column.title));
    }
    out.push_str(" an idle session |\n");
    out.push_str(&format!("|{}\n", " --- |".repeat(COLUMNS.len() + 2)));
    let mut footnotes = Vec::new();
    for server in in_order(servers, figures) {
        let title = place.title(server);
        let title = if server == Server::Fanfare {
            format!("**{title}**")
        } else {
            title
        };
        out.push_str(&format!("| {title} |"));
        for column in COLUMNS {
            let figure = figures.of(column.name, server);
            let text = figure.map_or("–".into(), |figure| ratio(figure.ratio));
            let fault = figures.fault(column.name, server);
            let mark = if fault.is_some() { "¹" } else { "" };
            if let Some(fault) = fault {
                let fault: String = fault.chars().take(160).collect();
                let fault = fault.replace(['\r', '\n', '|', '`'], " ");
                footnotes.push(format!("{}, {}: {fault}", place.title(server), column.name));
            }
            out.push_str(&format!(" {text}{mark} |"));
        }
        let bytes = figures.idle(server);
        let text = bytes.map_or("–".into(), |bytes| format!("{:.1} KB", bytes / 1024.0));
        out.push_str(&format!(" {text} |\n"));
    }
    let fastest = figures.of(COLUMNS[0].name, Server::Bare);
    out.push_str(&format!(
        "\nMeasured on {}, {}: medians of {rounds} rounds of {seconds} s, the servers in turn within each round; idle sessions: {idle}. The bare \
         loop made {} deliveries a second at W=1.\n",
        Zoned::now().strftime("%Y-%m-%d"),
        machine(),
        fastest.map_or("–".into(), |figure| fanfare::bench::figures::grouped(figure.rate)),
    ));
    if !footnotes.is_empty() {
        out.push_str(&format!(
            "\n¹ Not without faults: {}.\n",
            footnotes.join("; ")
        ));
    }
    out
}

/// Fanfare first, then the others from the fastest on.
pub fn in_order(servers: &[Server], figures: &Figures) -> Vec<Server> {
    let mut servers = servers.to_vec();
    let place = |server: &Server| {
        let ratio = figures.of(COLUMNS[0].name, *server);
        (
            *server != Server::Fanfare,
            -ratio.map_or(0.0, |figure| figure.ratio),
        )
    };
    servers.sort_by(|one, other| {
        let (one, other) = (place(one), place(other));
        one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
    });
    servers
}

/// Two digits that say something.
pub fn ratio(ratio: f64) -> String {
    match ratio {
        ..0.0195 => format!("{ratio:.3}"),
        _ => format!("{ratio:.2}"),
    }
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cores = info
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, {cores} cores, Linux {}",
        value("model name").unwrap_or_else(|| "an unknown processor".into()),
        kernel.trim()
    )
}

/// Puts the block between the markers of the file.
pub fn put(file: &Path, block: &str) -> io::Result<()> {
    let text = fs::read_to_string(file)?;
    let missing = || io::Error::other(format!("{} lacks a marker: {BEGIN}", file.display()));
    let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    fs::write(file, format!("{before}{BEGIN}\n{block}\n{END}{after}"))
}
