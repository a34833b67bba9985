use clap::Args;

use super::{Failure, write_out};

/// Prints the JSON Schema of YAML pipelines, for editors.
#[derive(Args)]
pub struct Schema {}

impl Schema {
    pub fn execute(self) -> Result<(), Failure> {
        write_out(&concourse::schema())
    }
}
