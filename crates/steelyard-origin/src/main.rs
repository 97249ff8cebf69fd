//! The command `steelyard-origin`, for a build without Python.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ExitCode::from(steelyard_origin::command::run(&arguments))
}
