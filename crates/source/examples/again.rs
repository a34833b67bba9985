//! Compares an import that finds a kept tree with `git status`: `again PROJECT DIRECTORY [ROUNDS]`.
//!
//! PROJECT is a work tree of git. Each round appends a line to ten of its tracked files, then runs `git status`
//! and an import in turn. DIRECTORY is made, and holds the kept tree.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use source::{Again, Kept, Options, Progress, Project, Selection, import_again, import_indexed};

/// How many files change between two imports.
const CHANGED: usize = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, directory, rest @ ..] = arguments.as_slice() else {
        return Err("usage: again PROJECT DIRECTORY [ROUNDS]".into());
    };
    let (root, directory) = (Path::new(root), Path::new(directory));
    let rounds = rest.first().map_or(Ok(11), |rounds| rounds.parse())?;
    let (tree, trash) = (directory.join("tree"), directory.join("trash"));
    let index = directory.join("index");
    fs::create_dir_all(&tree)?;
    fs::create_dir_all(&trash)?;
    let (options, progress, selection) =
        (Options::default(), Progress::default(), Selection::default());
    let project = Project::at(root)?;
    let start = Instant::now();
    let imported = import_indexed(&project, &selection, &options, &tree, &index, &progress)?;
    println!("{} files copied in {:?}", imported.files, start.elapsed());
    println!("{} bytes of index", index.metadata()?.len());
    let listed = Command::new("git").arg("-C").arg(root).args(["ls-files", "-z"]).output()?;
    let names: Vec<PathBuf> = String::from_utf8(listed.stdout)?
        .split_terminator('\0')
        .map(|name| root.join(name))
        .collect();
    let kept = Kept { tree: &tree, index: &index, trash: &trash };
    let (mut status, mut again) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for number in 0..CHANGED {
            let name = &names[(round * 7919 + number * 104_729) % names.len()];
            writeln!(File::options().append(true).open(name)?, "changed")?;
        }
        let start = Instant::now();
        let mut git = Command::new("git");
        git.arg("-C").arg(root).args(["status", "--short"]).stdout(Stdio::null());
        if !git.status()?.success() {
            return Err("git status failed".into());
        }
        status.push(start.elapsed());
        let start = Instant::now();
        let done = import_again(&project, &selection, &options, &kept, &progress)?;
        again.push(start.elapsed());
        match done {
            Again::Imported(imported) if round == 0 || round + 1 == rounds => {
                println!("round {round}: {} copied, {} kept", imported.files, imported.kept);
            }
            Again::Imported(_) => {}
            Again::Unusable { reason } => return Err(reason.into()),
        }
    }
    let (status, again) = (summary("git status", status), summary("import", again));
    println!("an import takes {:.2} of git status", again.as_secs_f64() / status.as_secs_f64());
    Ok(())
}

/// Prints the least and the middle, and returns the middle.
fn summary(name: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let middle = times[times.len() / 2];
    println!("{name}: least {:?}, middle {middle:?}", times[0]);
    middle
}
