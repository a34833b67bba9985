//! The S3 server that the suite's setup starts.

/// How to reach the server.
pub struct S3 {
    /// `127.0.0.1:9000`
    pub address: String,
    pub region: String,
    pub bucket: String,
    pub key: String,
    pub secret: String,
    /// A key that may read and not write.
    pub reader_key: String,
    pub reader_secret: String,
}

impl S3 {
    pub fn from_environment() -> Self {
        check_name();
        let variable = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| {
                panic!(
                    "`{name}` is not set: run `scripts/test`, or `eval \"$(scripts/garage start DIR)\"` first"
                )
            })
        };
        let endpoint = variable("CI_TEST_S3_ENDPOINT");
        Self {
            address: endpoint.strip_prefix("http://").expect("plain HTTP").to_owned(),
            region: variable("CI_TEST_S3_REGION"),
            bucket: variable("CI_TEST_S3_BUCKET"),
            key: variable("CI_TEST_S3_KEY"),
            secret: variable("CI_TEST_S3_SECRET"),
            reader_key: variable("CI_TEST_S3_READER_KEY"),
            reader_secret: variable("CI_TEST_S3_READER_SECRET"),
        }
    }

    /// A store below a prefix that no other run of the tests uses.
    pub fn url(&self, prefix: &str) -> String {
        self.url_with(&self.key, &self.secret, prefix)
    }

    pub fn url_with(&self, key: &str, secret: &str, prefix: &str) -> String {
        let Self { address, bucket, region, .. } = self;
        let run = std::process::id();
        format!("s3://http://{key}:{secret}@{address}/{bucket}/{prefix}-{run}?region={region}")
    }

    pub fn url_of_bucket(&self, bucket: &str) -> String {
        self.url("p").replace(&format!("/{}/", self.bucket), &format!("/{bucket}/"))
    }
}

/// The configuration of nextest starts the server for tests with certain names alone.
fn check_name() {
    const MODULES: [&str; 2] = ["cache_outage", "cache_retry"];
    let thread = std::thread::current();
    // Other threads have no test's name.
    if let Some((module, test)) = thread.name().and_then(|name| name.rsplit_once("::")) {
        assert!(
            MODULES.contains(&module) || test.ends_with("_on_s3"),
            "the name of `{test}` has to end with `_on_s3`, or nextest starts no server for it"
        );
    }
}
