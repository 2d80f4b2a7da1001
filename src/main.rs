//! The `fanfare` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    fanfare::cli::main(|_config, _shutdown, _listening| async {
        Err("this build has no broker in it".into())
    })
}
