//! Copies a directory, and says how long that took: `import FROM TO [--listing]`.

use std::path::Path;
use std::time::Instant;

use source::{Options, Progress, Project, Selection, SourceError, import, scan};

fn main() -> Result<(), SourceError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: import FROM TO [--listing]");
        std::process::exit(2);
    };
    let (options, progress, selection) =
        (Options::default(), Progress::default(), Selection::default());
    let start = Instant::now();
    let project = Project::at(Path::new(from))?;
    if !rest.is_empty() {
        let listing = scan(&project, &selection, &options, &progress)?;
        println!("listed {} directories in {:?}", listing.directories.len(), start.elapsed());
        return Ok(());
    }
    let imported = import(&project, &selection, &options, Path::new(to), &progress)?;
    println!("{} files, {} bytes in {:?}", imported.files, imported.bytes, start.elapsed());
    imported.notices.iter().for_each(|notice| println!("{notice}"));
    Ok(())
}
