//! What a project is called, on every machine that has a copy of it.

use super::project::Project;
use super::repository::Repository;

/// The longest name, in bytes, so that it fits into what stores keep about an object.
const LONGEST: usize = 200;

impl Project {
    /// Host and path of the repository's remote `origin`, such as `github.com/org/app`: the same by whichever
    /// protocol it is reached. Without such a remote, the name of the project's directory.
    ///
    /// At most 200 bytes. Nothing of it is what one needs to log in.
    pub fn name(&self) -> String {
        let name = self.remote().unwrap_or_else(|| {
            let directory = self.root().file_name().unwrap_or(self.root().as_os_str());
            directory.to_string_lossy().into_owned()
        });
        bounded(name)
    }

    /// Host and path of the repository's remote `origin`, if it has one.
    pub fn remote(&self) -> Option<String> {
        let repository = Repository::of(self.root())?;
        remote_name(&repository.setting("remote \"origin\"", "url")?)
    }
}

/// `host/path` of an address as git takes it: `https://user:token@host:port/path.git`, `user@host:path`. `None`
/// for a path of this machine, and for what may hold a secret in an unusual place.
pub fn remote_name(url: &str) -> Option<String> {
    let (authority, path) = match url.split_once("://") {
        Some(("file", _)) => return None,
        Some((_, rest)) => rest.split_once('/')?,
        // Before the first slash, a colon makes it a host.
        None => url.split_once(':').filter(|(host, _)| !host.contains('/'))?,
    };
    // The end of a user's name or password that has a slash in it.
    if path.contains('@') {
        return None;
    }
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some((_, port)) if !port.ends_with(']') => return None,
        _ => host,
    };
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path).trim_matches('/');
    let is_place = !host.is_empty() && host.bytes().all(is_part) && !path.is_empty();
    is_place.then(|| format!("{}/{path}", host.to_ascii_lowercase()))
}

/// A name that is too long ends with a hash of all of it.
fn bounded(mut name: String) -> String {
    if name.len() > LONGEST {
        let end = format!("-{}", &blake3::hash(name.as_bytes()).to_hex()[..16]);
        name.truncate(name.floor_char_boundary(LONGEST - end.len()));
        name.push_str(&end);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_to_a_repository_have_one_name() {
        for url in [
            "https://github.com/org/app.git",
            "https://github.com/org/app",
            "https://GitHub.com/org/app/",
            "https://token@github.com/org/app.git",
            "https://user:to:ken@github.com:443/org/app.git",
            "http://github.com/org/app.git?token=x#y",
            "ssh://git@github.com:22/org/app.git",
            "git@github.com:org/app.git",
            "github.com:org/app.git",
            "git@github.com:/org/app.git",
        ] {
            assert_eq!(remote_name(url).as_deref(), Some("github.com/org/app"), "{url}");
        }
        assert_eq!(remote_name("ssh://[::1]:22/app").as_deref(), Some("[::1]/app"));
    }

    #[test]
    fn paths_have_none_and_neither_has_what_may_be_a_secret() {
        for url in [
            "/srv/git/app.git",
            "../app",
            "./a:b",
            "file:///srv/git/app.git",
            "https://host",
            "https://host/",
            "https://host/.git",
            "https://user:pass/word@host/app.git",
            "https://user/name@host/app.git",
            "https://user:password/app",
            "https://user name/app",
            "",
        ] {
            assert_eq!(remote_name(url), None, "{url}");
        }
    }

    #[test]
    fn long_names_differ_at_their_end() {
        let (one, two) = ("ä".repeat(200), "ä".repeat(201));
        assert_eq!(bounded("ä".repeat(100)), "ä".repeat(100));
        assert!(bounded(one.clone()).len() <= LONGEST);
        assert_ne!(bounded(one), bounded(two));
    }

    #[test]
    fn a_project_is_called_by_its_remote_or_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("app");
        std::fs::create_dir_all(root.join(".git/objects")).unwrap();
        let project = Project::at(&root).unwrap();
        assert_eq!(project.name(), "app");
        std::fs::write(root.join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        let config = "[remote \"upstream\"]\n\turl = https://h/other\n\
                      [remote \"origin\"]\n\turl = git@h:org/app.git\n\tfetch = +x:y\n";
        std::fs::write(root.join(".git/config"), config).unwrap();
        assert_eq!(project.name(), "h/org/app");
    }
}
