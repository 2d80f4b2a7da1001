//! What a publish over HTTP costs, beside an actix-web handler that reads the same JSON body and answers 200.

use std::hint::black_box;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use fanfare::bench::dialect::{Dialect, Opening, Role, Sink};
use fanfare::bench::fanfare::{Fanfare, Publishing};
use fanfare::bench::load::{Load, Outcome, Plan};
use serde::Deserialize;

use super::show::{Show, Target as Wanted};
use super::{Stretch, WARM_UP, each, plan, ratios, rounds};
use crate::options::Options;
use crate::round;
use crate::scenario::{ONE_TOPIC, Scenario};
use crate::target::{Kind, Target};

/// Connections that are kept open, each with one request at a time.
pub const CONNECTIONS: usize = 64;
const PATH: &str = "/v1/publish";

/// To topics that nobody subscribed to and that keep nothing.
pub fn live(options: &Options) -> io::Result<Show> {
    // What no rule is for.
    measure(options, "http", "bench")
}

/// To topics that keep a history.
pub fn kept(options: &Options) -> io::Result<Show> {
    // What a broker without a configuration keeps a history for.
    measure(options, "http-history", "demo/bench")
}

fn measure(options: &Options, name: &'static str, prefix: &str) -> io::Result<Show> {
    let handler = Kind::Own(vec!["handler".into()]);
    let mut show = Show::new(name);
    let both = rounds(options, 2, |which| {
        let kind = if which == 0 { &handler } else { &Kind::Broker };
        let target = Target::start(kind, CONNECTIONS)?;
        let (stretch, outcome) = publishing(options, &target, name, prefix)?;
        show.outcome(&outcome);
        Ok(stretch)
    })?;
    let answers = |round: &Stretch| round.tally.answers.total() as f64;
    let rate = |round: &Stretch| answers(round) / round.seconds();
    let cost = |round: &Stretch| round.server * 1e6 / answers(round);
    for (which, what) in [(0, "handler"), (1, "broker")] {
        let rounds = &both[which];
        show.figure(format!("{what}: answers a second"), &each(rounds, rate), "");
        show.figure(
            format!("{what}: CPU for an answer"),
            &each(rounds, cost),
            "µs",
        );
        let share = each(rounds, |round| round.server_share() * 100.0);
        show.figure(format!("{what}: its share of its core"), &share, "%");
        let share = each(rounds, |round| round.load_share() * 100.0);
        show.figure(format!("{what}: the load's share of its core"), &share, "%");
    }
    let [handlers, brokers] = [0, 1].map(|which| each(&both[which], rate));
    show.promise(
        "answers a second, broker to handler",
        &ratios(&brokers, &handlers),
        "",
        Wanted::AtLeast(0.7),
    );
    let [handlers, brokers] = [0, 1].map(|which| each(&both[which], cost));
    show.figure(
        "answers for a second of CPU, broker to handler",
        &ratios(&handlers, &brokers),
        "",
    );
    Ok(show)
}

/// A stretch of publishing to that server by requests, one topic a connection.
pub(super) fn publishing(
    options: &Options,
    target: &Target,
    name: &'static str,
    prefix: &str,
) -> io::Result<(Stretch, Outcome)> {
    publishing_by(options, target, (name, prefix), Posts::new)
}

/// The same in the dialect that is made of Fanfare's.
pub(super) fn publishing_by<D: Dialect>(
    options: &Options,
    target: &Target,
    (name, prefix): (&'static str, &str),
    dialect: impl FnOnce(Fanfare) -> D,
) -> io::Result<(Stretch, Outcome)> {
    let scenario = Scenario {
        name,
        topics: CONNECTIONS,
        subscribers: 0,
        outstanding: CONNECTIONS,
        ..ONE_TOPIC
    };
    let plan = Plan {
        prefix: prefix.into(),
        publishers: CONNECTIONS,
        is_answered: true,
        // Nothing is delivered, which is what patience waits for.
        patience: Duration::from_secs(600),
        ..plan(target, &scenario)
    };
    let mut load = Load::open(dialect(round::dialect(target, &scenario)), plan)?;
    load.run_for(WARM_UP)?;
    let stretch = Stretch::of(target, &mut load, options.time())?;
    Ok((stretch, load.finish()?))
}

/// Publishes as an object with the topic in it.
struct Posts(Fanfare);

impl Posts {
    fn new(fanfare: Fanfare) -> Self {
        Self(Fanfare {
            publishing: Publishing::Http,
            ..fanfare
        })
    }
}

impl Dialect for Posts {
    type Carry = usize;

    fn request(&self, opening: Opening<'_>) -> Vec<u8> {
        self.0.request(opening)
    }

    fn is_open(&self, role: Role, head: &str) -> bool {
        self.0.is_open(role, head)
    }

    fn begin(&self, opening: Opening<'_>, out: &mut Vec<u8>) -> bool {
        self.0.begin(opening, out)
    }

    fn put_publish(&self, out: &mut Vec<u8>, topic: &str, data: &[u8]) {
        let around = [r#"{"topic":""#, topic, r#"","data":""#, r#""}"#];
        let length: usize = around.iter().map(|part| part.len()).sum();
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.0.host,
            length + data.len()
        );
        let [begin, topic, middle, end] = around.map(str::as_bytes);
        for part in [head.as_bytes(), begin, topic, middle, data, end] {
            out.extend_from_slice(part);
        }
    }

    fn read(
        &self,
        hint: &mut usize,
        role: Role,
        bytes: &[u8],
        sink: &mut impl Sink,
    ) -> Result<usize, &'static str> {
        self.0.read(hint, role, bytes, sink)
    }
}

/// What the handler reads.
#[derive(Deserialize)]
struct Publish {
    topic: String,
    data: String,
}

/// Serves until it is killed, with one worker.
pub fn serve(port: u16) -> io::Result<()> {
    let app = || {
        App::new()
            .route(PATH, web::post().to(handler))
            .route("/readyz", web::get().to(HttpResponse::Ok))
    };
    actix_rt::System::new().block_on(async move {
        HttpServer::new(app)
            .workers(1)
            .bind((Ipv4Addr::LOCALHOST, port))?
            .run()
            .await
    })
}

async fn handler(body: web::Json<Publish>) -> HttpResponse {
    let Publish { topic, data } = body.into_inner();
    black_box((topic, data));
    HttpResponse::Ok().finish()
}
