use super::*;

fn env(name: &str) -> Option<OsString> {
    (name == "DATABASE_URL").then(|| "postgresql://app:s3cret@db.example:5432/shop".into())
}

#[test]
fn probe() {
    println!("{}", serde_json::to_string_pretty(&schema()).unwrap());
    let config = load(Path::new("config.yaml"), &env);
    match config {
        Ok(config) => println!("{}\n{:#?}", show(&config).unwrap(), config.warnings),
        Err(problems) => println!("{problems}"),
    }
    for text in [
        "",
        "a: b: c",
        "\tx: 1",
        "a:\n\t- b",
        "x: [1, 2",
        "x: \"abc",
        "- a\nb: c",
        "a: *b",
        "x: {a: 1, b}",
        "%YAML 3\n---\n",
        "@x",
        "a: b\n c: d",
        "a:\n- b\n -c\n  d: e",
        "service: x\n  fleet: y",
        "targets:\n  - name: a\n    url: postgresql://u:p@ss:word@h/d: x\n",
        "a: `x`",
        "url: %foo",
        "key: 'abc\n",
        "a: !!binary x",
        "a: &x [*x]",
    ] {
        match assemble::from_text("f.yaml", text, Path::new(""), &env) {
            Ok(_) => println!("{text:?} OK"),
            Err(problems) => println!("{text:?}\n{problems}"),
        }
    }
}
