//! The `fanfare` program.
fn main() {
    let loaded = fanfare::config::load(fanfare::config::Input{working_dir: std::path::Path::new("."), file: None, environment: std::env::vars(), overrides: Default::default()}).unwrap();
    fanfare::telemetry::init(&loaded.config.log.level, fanfare::telemetry::Format::Pretty).unwrap();
    let (t, s) = fanfare::shutdown::pair();
    actix::System::new().block_on(async move {
        actix_rt::spawn(async move { let mut x = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap(); loop { x.recv().await; t.fire(); } });
        fanfare::app::App::build(loaded.config).unwrap().run(s).await.unwrap();
    });
}
