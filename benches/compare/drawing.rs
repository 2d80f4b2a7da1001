//! The plot: a panel for each column, a bar for each server.

use fanfare::bench::plot::escape;

use crate::figures::Figures;
use crate::readme::{in_order, ratio};
use crate::round::COLUMNS;
use crate::server::{Place, Server};

const WIDTH: usize = 900;
const NAMES: usize = 200;
const BAR: usize = 22;
const HEAD: usize = 34;
const GAP: usize = 18;

/// Draws it as SVG, which needs nothing else and is to be read on any ground.
pub fn draw(place: &Place, servers: &[Server], figures: &Figures) -> String {
    let servers = in_order(servers, figures);
    let panel = HEAD + servers.len() * BAR + GAP;
    let (across, panel_width) = (2, WIDTH / 2);
    let height = 40 + COLUMNS.len().div_ceil(across) * panel;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Deliveries as a ratio to a bare write loop\">\n<style>\n\
         text {{ font: 12px system-ui, sans-serif; fill: #24292f; paint-order: stroke; stroke: #ffffff; stroke-width: 3px }} .head {{ font-weight: 600; font-size: 13px }}\n\
         .bar {{ fill: #9fb3c8 }} .own {{ fill: #0b6bcb }} .one {{ stroke: #57606a; stroke-dasharray: 3 3 }}\n</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" fill=\"#ffffff\"/>\n\
         <text class=\"head\" x=\"16\" y=\"24\">Deliveries a second, as a ratio to a bare write loop (1.0, dashed)</text>\n"
    );
    for (number, column) in COLUMNS.iter().enumerate() {
        let x = (number % across) * panel_width;
        let y = 40 + (number / across) * panel;
        let scale = |value: f64| value / 1.3 * (panel_width - NAMES - 60) as f64;
        out.push_str(&format!(
            "<text class=\"head\" x=\"{}\" y=\"{}\">{}</text>\n",
            x + 16,
            y + 22,
            escape(column.title)
        ));
        let one = (x + NAMES) as f64 + scale(1.0);
        out.push_str(&format!(
            "<line class=\"one\" x1=\"{one:.1}\" y1=\"{}\" x2=\"{one:.1}\" y2=\"{}\"/>\n",
            y + HEAD,
            y + HEAD + servers.len() * BAR
        ));
        for (row, server) in servers.iter().enumerate() {
            let at = y + HEAD + row * BAR;
            let name = place.title(*server).replace('`', "");
            let name = name.replace(" over WebSocket", "");
            let class = if *server == Server::Fanfare {
                "own"
            } else {
                "bar"
            };
            let figure = figures.of(column.name, *server);
            let value = figure.map_or(0.0, |figure| figure.ratio);
            let width = scale(value.min(1.3)).max(1.0);
            out.push_str(&format!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{width:.1}\" height=\"{}\" rx=\"2\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{}</text>\n",
                x + NAMES - 8,
                at + 15,
                escape(&name),
                x + NAMES,
                at + 3,
                BAR - 6,
                (x + NAMES) as f64 + width + 6.0,
                at + 15,
                figure.map_or("–".into(), |figure| ratio(figure.ratio)),
            ));
        }
    }
    out.push_str("</svg>\n");
    out
}
