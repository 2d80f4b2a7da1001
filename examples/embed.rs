//! A program of one's own with the broker inside: its routes and the broker's share an address, and what it
//! publishes gets to browsers without a request.
//!
//! ```sh
//! cargo run --example embed                       # then open http://127.0.0.1:8080/ in two windows
//! cargo run --example embed -- 127.0.0.1:9000     # elsewhere
//! ```

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::{HttpResponse, web};
use fanfare::app::App;
use fanfare::broker::{Broker, Publication};
use fanfare::config::{Anonymous, Auth, Config, HistoryRule, TopicRule};
use fanfare::model::{Filter, Payload, TopicError, TopicName};
use fanfare::shutdown;
use serde::{Deserialize, Serialize};

/// What the page posts.
#[derive(Deserialize)]
struct Order {
    item: String,
}

/// What browsers are told.
#[derive(Serialize)]
struct Placed<'a> {
    number: u64,
    item: &'a str,
}

/// Everybody may see the orders, of which the last ten are kept. Only this program publishes any.
///
/// # Errors
/// A filter that is none.
pub fn config() -> Result<Config, TopicError> {
    let orders = Filter::new("orders/#")?;
    let rule = TopicRule {
        history: Some(HistoryRule::last(10)),
        ..TopicRule::live(orders.clone())
    };
    let auth = Auth {
        anonymous: Some(Anonymous {
            subscribe: vec![orders],
            publish: Vec::new(),
        }),
        ..Auth::default()
    };
    Ok(Config {
        topics: vec![rule],
        auth: Some(auth),
        ..Config::default()
    })
}

/// The broker with a shop's routes before its own.
pub fn shop(app: App) -> App {
    let broker = web::Data::new(app.broker());
    let number = web::Data::new(AtomicU64::new(1));
    app.routes(move |services| {
        services
            .app_data(broker.clone())
            .app_data(number.clone())
            .route("/", web::get().to(page))
            .route("/orders", web::post().to(order));
    })
}

async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .body(PAGE)
}

/// Takes an order, and tells every browser that is there.
async fn order(
    broker: web::Data<Broker>,
    next: web::Data<AtomicU64>,
    order: web::Json<Order>,
) -> Result<HttpResponse, Box<dyn Error>> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    let placed = Placed {
        number,
        item: &order.item,
    };
    let payload = Payload::json(&serde_json::to_vec(&placed)?)?;
    let topic = TopicName::new("orders/new")?;
    let told = match broker.publish(Publication::new(topic, payload)).await {
        Ok(receipt) => receipt.subscribers,
        // The order stands; whoever watches loads the list again.
        Err(refusal) => {
            eprintln!("order {number} was told to nobody: {}", refusal.message);
            0
        }
    };
    Ok(HttpResponse::Created().json(serde_json::json!({"number": number, "told": told})))
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = config()?;
    if let Some(address) = std::env::args().nth(1) {
        config.server.listen = address.parse()?;
    }
    let bound = shop(App::build(config)?).bind()?;
    println!("The shop is at http://{}/", bound.address());
    let (trigger, shutdown) = shutdown::pair();
    actix::spawn(async move {
        // The first Ctrl-C sends sessions away and then ends the program, the second ends it at once.
        while tokio::signal::ctrl_c().await.is_ok() {
            trigger.fire();
        }
    });
    bound.run(shutdown).await?;
    Ok(())
}

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Shop</title>
<h1>Orders</h1>
<form id="form"><input id="item" aria-label="Item" autofocus> <button>Order</button></form>
<ol id="orders"></ol>
<script>
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws?topic=orders/new&last=10`);
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.type !== "message") return;
    const line = document.createElement("li");
    line.textContent = `${frame.data.number}: ${frame.data.item}`;
    orders.append(line);
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    const headers = { "Content-Type": "application/json" };
    fetch("orders", { method: "POST", headers, body: JSON.stringify({ item: item.value }) });
    item.value = "";
  };
</script>
"#;
