//! The `fanfare` program.

use std::process::ExitCode;

use fanfare::app::App;

fn main() -> ExitCode {
    fanfare::cli::main(|config, shutdown, listening| async move {
        let bound = App::build(config)?.bind()?;
        listening.on(bound.address(), bound.admin_address());
        Ok(bound.run(shutdown).await?)
    })
}
