//! stub until merged
use std::sync::Arc;
#[derive(Clone)] pub struct ApiState;
impl ApiState { pub fn new(_: crate::broker::Broker, _: Arc<crate::auth::Door>, _: crate::shutdown::Shutdown, _: Arc<crate::config::Config>) -> Self { Self } }
pub fn configure(cfg: &mut actix_web::web::ServiceConfig, _: actix_web::web::Data<ApiState>) { cfg.route("/readyz", actix_web::web::get().to(|| async { "ok" })); }
