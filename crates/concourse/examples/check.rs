//! Checks the pipelines that it is given, and prints the first problem of each.
//!
//! `cargo run --release -p concourse --example check -- FILE…`

use std::path::Path;
use std::time::Instant;

use concourse::{Document, VarOptions, load};

fn main() {
    for given in std::env::args().skip(1) {
        let started = Instant::now();
        let document = Document::File { given: &given, path: Path::new(&given) };
        let result = load(document, &VarOptions::default());
        let took = started.elapsed().as_millis();
        match result {
            Ok(_) => println!("{given}\tok\t{took} ms"),
            Err(problems) => {
                let first = problems.first();
                let line = first.and_then(|one| one.place.as_ref()).map_or(0, |place| place.line);
                let message = first.map_or("", |one| &one.message);
                println!("{given}\tERR {} in line {line}: {message}", problems.len());
            }
        }
    }
}
