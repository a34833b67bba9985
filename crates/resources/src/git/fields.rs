//! What the type knows.

use crate::fields::{Field, Fields, Shape};

const DEBUG: &str = "there is nothing that traces without telling secrets; see the log of the step";

pub const FIELDS: Fields = Fields {
    source: &[
        Field::new("uri", Shape::Text, "the repository: required"),
        Field::new(
            "branch",
            Shape::Text,
            "the branch; without it the repository's default branch. `put` needs it",
        ),
        Field::secret(
            "private_key",
            Shape::Text,
            "the key for ssh, instead of those of the user and the agent",
        ),
        Field::new("private_key_user", Shape::Text, "the user for ssh"),
        Field::secret("private_key_passphrase", Shape::Text, "unlocks `private_key`"),
        Field::new("forward_agent", Shape::Flag, "forwards the ssh agent"),
        Field::new("username", Shape::Text, "the user for HTTP, at the host of `uri`"),
        Field::secret(
            "password",
            Shape::Text,
            "the password or token for HTTP, at the host of `uri`",
        ),
        Field::new(
            "paths",
            Shape::List,
            "only commits that change these, by git's patterns, are versions",
        ),
        Field::new(
            "ignore_paths",
            Shape::List,
            "commits that change nothing but these are no versions",
        ),
        Field::new("sparse_paths", Shape::List, "only these are checked out"),
        Field::new("skip_ssl_verification", Shape::Flag, "trusts each certificate"),
        Field::new(
            "tag_filter",
            Shape::Text,
            "only commits with a tag like this, by a glob, are versions",
        ),
        Field::new(
            "tag_regex",
            Shape::Text,
            "the same by an extended regular expression of grep for the whole tag",
        ),
        Field::new(
            "tag_behaviour",
            Shape::Text,
            "`match_tagged`, or `match_tag_ancestors`: commits before such a tag",
        ),
        Field::new("fetch_tags", Shape::Flag, "`true` fetches all tags, `false` none"),
        Field::secret(
            "submodule_credentials",
            Shape::Any,
            "a list of `host`, `username`, `password`, or of `url`, `private_key`, `private_key_passphrase`",
        ),
        Field::secret(
            "git_config",
            Shape::Any,
            "a list of `name` and `value`, also kept in the clone",
        ),
        Field::new(
            "disable_ci_skip",
            Shape::Flag,
            "commits with `[ci skip]` or `[skip ci]` are versions as well",
        ),
        Field::new(
            "commit_verification_keys",
            Shape::List,
            "GnuPG keys, of which one has to have signed the commit",
        ),
        Field::new("commit_verification_key_ids", Shape::List, "the same by the keys' identities"),
        Field::new(
            "gpg_keyserver",
            Shape::Text,
            "where these keys are, `hkp://keyserver.ubuntu.com/` if not set",
        ),
        Field::secret("git_crypt_key", Shape::Text, "in base64; unlocks the files by `git-crypt`"),
        Field::secret(
            "https_tunnel",
            Shape::Any,
            "`proxy_host`, `proxy_port`, `proxy_user`, `proxy_password`: ssh through `proxytunnel`",
        ),
        Field::new(
            "commit_filter",
            Shape::Any,
            "`include`, `include_all_match`, `exclude`, `exclude_all_match`: regular expressions for messages",
        ),
        Field::new(
            "version_depth",
            Shape::Number,
            "how many versions a check without a version gives, 1 if not set",
        ),
        Field::new(
            "search_remote_refs",
            Shape::Flag,
            "looks for the commit in all refs of the repository",
        ),
        Field::without_meaning("debug", DEBUG, "traces"),
    ],
    get_params: &[
        Field::new(
            "depth",
            Shape::Number,
            "how many commits of history are fetched; without it all",
        ),
        Field::new("fetch", Shape::List, "more branches to fetch"),
        Field::new("fetch_tags", Shape::Flag, "takes the place of the source's `fetch_tags`"),
        Field::new("submodules", Shape::Any, "`all`, `none` or a list of paths"),
        Field::new(
            "submodule_recursive",
            Shape::Flag,
            "submodules of submodules as well; `true` if not set",
        ),
        Field::new("submodule_remote", Shape::Flag, "submodules at the end of their branch"),
        Field::new("disable_git_lfs", Shape::Flag, "leaves pointers in place of files of Git LFS"),
        Field::new("clean_tags", Shape::Flag, "deletes all tags of the clone"),
        Field::new("short_ref_format", Shape::Text, "how `.git/short_ref` is written, with `%s`"),
        Field::new(
            "timestamp_format",
            Shape::Text,
            "how `.git/commit_timestamp` is written, as for `git log --date`",
        ),
        Field::new("describe_ref_options", Shape::Text, "options for `git describe`"),
        Field::new("all_branches", Shape::Flag, "fetches all branches"),
        Field::without_meaning("debug", DEBUG, "traces"),
    ],
    put_params: &[
        Field::new("repository", Shape::Text, "the directory with the repository: required"),
        Field::new("rebase", Shape::Flag, "rebases if the branch has got other commits"),
        Field::new("rebase_strategy", Shape::Text, "the strategy of the rebase"),
        Field::new(
            "rebase_strategy_option",
            Shape::Any,
            "options of the strategy, a list or words",
        ),
        Field::new("merge", Shape::Flag, "merges if the branch has got other commits"),
        Field::new("returning", Shape::Text, "the version after a merge: `merged` or `unmerged`"),
        Field::new("tag", Shape::Text, "a file with the name of a tag to make"),
        Field::new("only_tag", Shape::Flag, "pushes tags and no branch"),
        Field::new("tag_prefix", Shape::Text, "comes before the name of the tag"),
        Field::new("force", Shape::Flag, "overwrites the branch and tags"),
        Field::new("annotate", Shape::Text, "a file with the message of the tag"),
        Field::new("notes", Shape::Text, "a file with a note for the commit"),
        Field::new("branch", Shape::Text, "takes the place of the source's `branch`"),
        Field::new("refs_prefix", Shape::Text, "`refs/heads` if not set"),
        Field::new("push_options", Shape::List, "options for the server"),
        Field::without_meaning("debug", DEBUG, "traces"),
    ],
};
