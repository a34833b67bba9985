//! What a DSN with mistakes is told.

#[test]
fn help_is_not_masked_and_a_misspelled_key_is_named() {
    let forms = "`s3://bucket/prefix` or \
                 `s3://[http://|https://][KEY:SECRET@]host[:port]/bucket/prefix` or `file:///path`";
    let table = [
        (
            "native://?cache=/tmp/x",
            format!("invalid value `/tmp/x` for key `cache`, expected {forms}"),
        ),
        (
            "native:cache=/tmp/x",
            format!("invalid value `/tmp/x` for key `cache`, expected {forms}"),
        ),
        (
            "native://?cache=ftp://AKID:hunter2@host/x",
            format!("invalid value `ftp://***@host/x` for key `cache`, expected {forms}"),
        ),
        (
            "native?cache=file:///x",
            "expected `://` before the `?`, as in `native://?key=value`".to_owned(),
        ),
        (
            "native://?cache=s3://b?regoin=x",
            "unknown key `regoin` for the cache, did you mean `region`?, expected ".to_owned(),
        ),
        (
            "native://?cache=s3%3A%2F%2Fb%3Fregoin%3Dx",
            "unknown key `regoin` for the cache, did you mean `region`?, expected ".to_owned(),
        ),
        (
            "native://?cache=file://x?regoin=x",
            "unknown key `regoin` for the cache, did you mean `region`?, expected ".to_owned(),
        ),
        (
            "docker://?host=https://AKID:hunter2@host:1",
            "invalid value `https://***@host:1` for key `host`, expected `unix:///".to_owned(),
        ),
    ];
    for (dsn, expected) in table {
        let error = dsn.parse::<ci::driver::dsn::Dsn>().unwrap_err().to_string();
        assert!(error.starts_with(&expected), "{dsn}: {error}");
        let values: Vec<&str> = error.split("`").skip(1).step_by(2).collect();
        let help = values.iter().any(|value| value.contains("[***"));
        assert!(!help && !error.contains("hunter2"), "{dsn}: {error}");
    }
}

#[test]
fn a_capital_m_is_no_unit() {
    let error = "native://?grace=1M".parse::<ci::driver::dsn::Dsn>().unwrap_err().to_string();
    assert!(error.contains("`M` is not a unit"), "{error}");
}
