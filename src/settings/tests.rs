//! What the settings promise: layers, names, bounds, and a documented default of every key.

use super::access::Need;
use super::auth::SECRET_BYTES_MIN;
use super::keys::{Allowed, KEYS, route};
use super::*;
use std::fs;
use tempfile::TempDir;

/// One that will do: hexadecimal digits.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Settings from files with these texts, the later over the earlier, and from these variables.
fn load(texts: &[&str], variables: &[(&str, &str)]) -> Result<Settings> {
    let directory = TempDir::new().unwrap();
    let file = |(index, text): (usize, &&str)| {
        let path = directory.path().join(format!("{index}.toml"));
        fs::write(&path, text).unwrap();
        path
    };
    let files: Vec<_> = texts.iter().enumerate().map(file).collect();
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Settings::layered(&files, Some(variables))
}

fn refused(texts: &[&str], variables: &[(&str, &str)]) -> String {
    load(texts, variables).unwrap_err().to_string()
}

#[test]
fn without_anything_the_defaults_hold() {
    let settings = load(&[], &[]).unwrap();
    assert_eq!(settings.data_dir, Path::new("./data"));
    assert_eq!(settings.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.http.body_bytes_max, 1_048_576);
    assert_eq!(settings.writer.append_wait, Duration::from_secs(10));
    assert_eq!((settings.log.broker.as_str(), settings.log.partitions), ("embedded", 8));
    assert_eq!(settings.projections.dir, None);
    assert_eq!(settings.telemetry, Telemetry { log: "info".into(), format: LogFormat::Text });
}

#[test]
fn the_default_file_can_be_given_as_a_file() {
    assert_eq!(load(&[DEFAULT], &[]).unwrap(), load(&[], &[]).unwrap());
}

#[test]
fn later_layers_win() {
    let first = "data_dir = '/first'\n[log]\npartitions = 2\n[telemetry]\nlog = 'debug'";
    let second = "data_dir = '/second'\nlog.partitions = 3";
    let settings = load(&[first, second], &[("REFOLD__DATA_DIR", "/third")]).unwrap();
    assert_eq!(settings.data_dir, Path::new("/third"));
    assert_eq!(settings.log.partitions, 3);
    assert_eq!(settings.telemetry.log, "debug");
}

#[test]
fn each_file_changes_those_routes_that_it_names() {
    let first = "[access]\n'GET /stats' = 'open'\n'GET /views/food_counts' = 'user'";
    let second = "access.'GET /stats' = 'admin'";
    let (own, usual) = (load(&[first, second], &[]).unwrap().access, load(&[], &[]).unwrap().access);
    assert_eq!((own["GET /stats"], own["GET /views/food_counts"]), (Need::Admin, Need::User));
    assert_eq!(own.len(), usual.len() + 1);
    assert_eq!(own["GET /events"], usual["GET /events"]);
}

#[test]
fn one_variable_has_the_routes() {
    let file = "[access]\n'GET /stats' = 'admin'\n'GET /events' = 'user'";
    let variable =
        " GET /stats=open,POST /users = admin ,GET /views/{name}=user,, GET /views/food_counts=open";
    let access = load(&[file], &[("REFOLD__ACCESS", variable)]).unwrap().access;
    let needs = ["GET /stats", "GET /events", "POST /users", "GET /views/{name}", "GET /views/food_counts"];
    assert_eq!(
        needs.map(|route| access[route]),
        [Need::Open, Need::User, Need::Admin, Need::User, Need::Open]
    );
    let usual = load(&[], &[("REFOLD__ACCESS", "")]).unwrap().access;
    assert_eq!((usual.len() + 1, usual["GET /stats"]), (access.len(), Need::User));

    for (name, text, told) in [
        (
            "REFOLD__ACCESS",
            "GET /stats",
            "$REFOLD__ACCESS: \"GET /stats\" is not allowed: it must be such as \"GET /stats=open",
        ),
        (
            "REFOLD__ACCESS",
            "GET /stats=root",
            "$REFOLD__ACCESS: [access] \"GET /stats\" = \"root\" is not allowed",
        ),
        ("REFOLD__ACCESS", "GET /stats=open,GET /stats=user", "\"GET /stats\" is given twice"),
        ("REFOLD__ACCESS__GET_STATS", "open", "write all routes into $REFOLD__ACCESS"),
        ("REFOLD_ACCESS", "GET /stats=open", "$REFOLD_ACCESS is not read: write REFOLD__ACCESS"),
    ] {
        let answer = refused(&[], &[(name, text)]);
        assert!(answer.contains(told), "{name}={text}: {answer}");
    }
}

#[test]
fn the_environment_sets_every_kind_of_value() {
    let variables = [
        ("REFOLD__HTTP__LISTEN", "[::1]:0"),
        ("REFOLD__LOG__PARTITIONS", "16"),
        ("REFOLD__DECIDE__WAIT_MS", "250"),
        ("REFOLD__TELEMETRY__FORMAT", "json"),
        ("REFOLD__TELEMETRY__LOG", "warn,refold=trace"),
        ("REFOLD__PROJECTIONS__DIR", "statistics"),
        ("REFOLD__DATA_DIR", "007"),
    ];
    let settings = load(&[], &variables).unwrap();
    assert_eq!(settings.http.listen.to_string(), "[::1]:0");
    assert_eq!(settings.log.partitions, 16);
    assert_eq!(settings.decide.wait, Duration::from_millis(250));
    assert_eq!(settings.telemetry.format, LogFormat::Json);
    assert_eq!(settings.telemetry.log, "warn,refold=trace");
    assert_eq!(settings.projections.dir.as_deref(), Some(Path::new("statistics")));
    assert_eq!(settings.data_dir, Path::new("007"), "a name of digits stays as it is");
}

#[test]
fn origins_are_a_list_or_a_text_with_commas() {
    let origins = |texts: &[&str], variables: &[(&str, &str)]| load(texts, variables).unwrap().cors.origins;
    let two = ["https://a.example", "http://[::1]:8080"];
    assert_eq!(origins(&["cors.origins = ['https://a.example', 'http://[::1]:8080']"], &[]), two);
    assert_eq!(origins(&[], &[("REFOLD__CORS__ORIGINS", "https://a.example, http://[::1]:8080")]), two);
    assert!(origins(&["cors.origins = ['https://a.example']"], &[("REFOLD__CORS__ORIGINS", "")]).is_empty());
}

#[test]
fn suspicious_vehicles_have_a_variable_of_their_own() {
    let watched = |variables: &[(&str, &str)]| {
        load(&["vehicles.suspicious = 'Van'"], variables).unwrap().vehicles.suspicious.to_string()
    };
    assert_eq!(load(&[], &[]).unwrap().vehicles.suspicious, Default::default());
    assert_eq!(watched(&[]), "Van");
    assert_eq!(watched(&[("SUSPICIOUS_VEHICLE", "Coupe,Sedan")]), "Coupe, Sedan");
    assert_eq!(watched(&[("REFOLD__VEHICLES__SUSPICIOUS", "Coupe")]), "Coupe");
    let twice = refused(&[], &[("SUSPICIOUS_VEHICLE", "a"), ("REFOLD__VEHICLES__SUSPICIOUS", "a")]);
    assert!(twice.contains("$REFOLD__VEHICLES__SUSPICIOUS and $SUSPICIOUS_VEHICLE set the same"), "{twice}");
    let bad = refused(&[], &[("SUSPICIOUS_VEHICLE", "")]);
    assert!(bad.contains("$SUSPICIOUS_VEHICLE: vehicles.suspicious = \"\" is not allowed"), "{bad}");
}

#[test]
fn other_variables_are_none_of_our_business() {
    let variables = [
        ("REFOLD_CONFIG", "x"),
        ("REFOLD_TEST_DATA", "x"),
        ("REFOLD_HTTP_SEED", "1"),
        ("PATH", "x"),
        ("XREFOLD__LISTEN", "x"),
    ];
    assert_eq!(load(&[], &variables).unwrap(), load(&[], &[]).unwrap());
}

#[test]
fn variables_with_too_few_underscores_are_told() {
    for (name, meant) in [
        ("REFOLD_HTTP__LISTEN", "REFOLD__HTTP__LISTEN"),
        ("REFOLD_HTTP_LISTEN", "REFOLD__HTTP__LISTEN"),
        ("REFOLD_DATA_DIR", "REFOLD__DATA_DIR"),
        ("REFOLD_LOG_PARTITIONS", "REFOLD__LOG__PARTITIONS"),
        ("refold_telemetry_log", "REFOLD__TELEMETRY__LOG"),
    ] {
        let told = refused(&[], &[(name, "x"), ("REFOLD__LOG__PARTITIONS", "0")]);
        assert!(told.contains(&format!("${name} is not read: write {meant}")), "{told}");
        assert!(told.contains("log.partitions"), "what else is wrong is told, too: {told}");
    }
}

#[test]
fn an_unknown_key_is_answered_with_the_known_ones() {
    let told = refused(&["[http]\nlisen = '127.0.0.1:1'"], &[("REFOLD__DATADIR", "x")]);
    assert!(told.contains(r#"0.toml: unknown key "lisen" in [http]: did you mean "listen"?"#), "{told}");
    assert!(told.contains("body_bytes_max, body_timeout_ms"), "{told}");
    assert!(
        told.contains(r#"$REFOLD__DATADIR: unknown key "datadir": did you mean "data_dir"? known: "#),
        "{told}"
    );
    assert!(told.contains("data_dir, decide, http"), "{told}");
}

#[test]
fn odd_shapes_are_unknown_keys_too() {
    for (text, told) in [
        ("[htpp]\nlisten = 'x'", r#"unknown key "htpp": did you mean "http"?"#),
        ("[htpp]", r#"unknown key "htpp": did you mean "http"?"#),
        ("http = 5", "http is a section, not a value; its keys: answer_timeout_ms, body_bytes_max"),
        ("[data_dir]\nx = 1", r#"unknown key "data_dir.x": data_dir is a value, not a section"#),
        (
            "[nats.password]\nx = 1",
            r#"unknown key "nats.password.x": nats.password is a value, not a section"#,
        ),
        ("[http.listen]", "http.listen = a table is not allowed"),
        ("[http.lisen.deep]\nx = 1", r#"unknown key "lisen" in [http]"#),
        ("[[http]]\nlisten = 'x'", "http is a section, not a value"),
        ("access = 'open'", "access is a section, not a value; its keys: routes, such as \"GET /stats\""),
        (
            "access.'GET /stats' = 5",
            r#"[access] "GET /stats" = 5 is not allowed: it must be "open" or "user" or "admin""#,
        ),
        ("[access.'GET /stats']", r#"[access] "GET /stats" = a table is not allowed"#),
        ("access.'GET /stats' = 'User'", r#""User" is not allowed"#),
        ("DATA_DIR = 'x'", r#"unknown key "DATA_DIR": did you mean "data_dir"?"#),
        ("'' = 1", r#"unknown key """#),
    ] {
        let answer = refused(&[text], &[]);
        assert!(answer.contains(told), "{text}: {answer}");
    }
    for name in ["REFOLD__", "REFOLD____", "REFOLD__HTTP__", "REFOLD__HTTP", "REFOLD__HTTP__LISTEN__X"] {
        let answer = refused(&[], &[(name, "1")]);
        assert!(answer.contains(&format!("${name}: ")), "{name}: {answer}");
    }
    assert!(load(&["[http]"], &[]).is_ok(), "an empty section sets nothing");
}

#[test]
fn a_bad_value_is_told_with_its_source_and_what_is_allowed() {
    for (text, told) in [
        ("data_dir = 5", "0.toml: data_dir = 5 is not allowed: it must be a path"),
        ("data_dir = ''", "it must be a path"),
        (
            "http.listen = 'localhost'",
            r#"http.listen = "localhost" is not allowed: it must be an IP address"#,
        ),
        ("log.partitions = 0", "log.partitions = 0 is not allowed: it must be a whole number, 1 to 1024"),
        ("log.partitions = 1025", "a whole number, 1 to 1024"),
        ("log.partitions = -1", "a whole number, 1 to 1024"),
        ("log.partitions = 1.5", "a whole number, 1 to 1024"),
        ("http.head_timeout_ms = 1e3", "1000.0 is not allowed: it must be a whole number, 100 to 600000"),
        ("telemetry.log = 'inof'", "it must be a level"),
        ("log.partitions = '8'", r#"log.partitions = "8" is not allowed"#),
        ("log.broker = 'pulsar'", r#"log.broker = "pulsar" is not allowed: it must be "embedded""#),
        (
            "telemetry.log = 'refold=loud'",
            "it must be a level (off, error, warn, info, debug, trace) or a filter",
        ),
        ("telemetry.log = ''", "it must be a level (off, error, warn, info, debug, trace) or a filter"),
        ("telemetry.format = 'xml'", r#"it must be "text" or "json""#),
        ("projections.dir = false", r#"it must be a path, or """#),
        ("vehicles.suspicious = ''", r#"it must be a category of vehicles such as "SUV""#),
        ("vehicles.suspicious = ['SUV']", r#"it must be a category of vehicles such as "SUV""#),
        ("cors.origins = 'https://a.example'", "it must be a list of at most 100 origins"),
        ("cors.origins = ['*']", "it must be a list of at most 100 origins"),
        ("cors.origins = ['https://a.example/']", "as browsers write them"),
        ("cors.origins = ['https://A.example']", "as browsers write them"),
        ("cors.origins = ['https://a.example:443']", "as browsers write them"),
        ("cors.origins = ['file://a']", "as browsers write them"),
    ] {
        let answer = refused(&[text], &[]);
        assert!(answer.contains(told), "{text}: {answer}");
    }
    let answer = refused(&[], &[("REFOLD__LOG__PARTITIONS", "many")]);
    assert!(
        answer.contains(r#"$REFOLD__LOG__PARTITIONS: log.partitions = "many" is not allowed"#),
        "{answer}"
    );
}

#[test]
fn a_secret_that_is_not_allowed_is_not_told() {
    for (text, variables) in [
        ("auth.secret = 'hunter2'", &[][..]),
        ("auth.previous_secret = 4712345", &[]),
        ("", &[("REFOLD__AUTH__SECRET", "hunter2")]),
    ] {
        let answer = refused(&[text], variables);
        assert!(
            answer.contains("secret = (secret) is not allowed: it must be at least 32 bytes"),
            "{answer}"
        );
        assert!(!answer.contains("hunter2") && !answer.contains("4712345"), "{answer}");
    }
    let settings = load(&[&format!("auth.secret = '{SECRET}'")], &[]).unwrap();
    assert!(!format!("{settings:?}").contains("0123"), "{settings:?}");
}

#[test]
fn a_secret_is_no_filling() {
    let weak = [
        "x".repeat(64),
        " ".repeat(64),
        "ab".repeat(32),
        format!("{}{}", "x".repeat(31), "012345"),
        format!("0123456789{}", " ".repeat(40)),
    ];
    for text in weak {
        for key in ["auth.secret", "auth.previous_secret"] {
            let told = refused(&[&format!("{key} = '{text}'")], &[]);
            assert!(told.contains("8 different ones among them") && !told.contains(&text), "{told}");
        }
    }
    // Hexadecimal digits, Base64, words.
    for text in [SECRET, "dGhlIHNlY3JldCB0aGF0IGlzIHVzZWQ=", "correct horse battery staple 1846"] {
        assert!(load(&[&format!("auth.secret = '{text}'")], &[]).is_ok(), "{text}");
    }
}

#[test]
fn a_file_with_a_secret_that_others_may_read_is_noted() {
    let directory = TempDir::new().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let secret = format!("auth.secret = '{SECRET}'");
    let (group, others) =
        (file("group", &secret, 0o640), file("others", &secret.replace("secret", "previous_secret"), 0o604));
    let [writers, all_write] = [0o620, 0o602].map(|mode| file(&format!("{mode:o}"), &secret, mode));
    let files = [
        writers.clone(),
        all_write.clone(),
        group.clone(),
        file("own", &secret, 0o600),
        others.clone(),
        file("none", "auth.secret = ''", 0o644),
        file("usual", "rabbit.password = 'guest'", 0o644),
        file("broker", "rabbit.password = 'correct-horse'", 0o644),
    ];
    let broker = directory.path().join("broker");
    let settings = Settings::layered(&files, Some(Map::new())).unwrap();
    assert_eq!(settings.told_secrets, [writers, all_write, group, others, broker]);
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let missing = PathBuf::from("not-there.toml");
    let directory = TempDir::new().unwrap();
    let broken = directory.path().join("broken.toml");
    fs::write(&broken, "data_dir = \n").unwrap();
    let variables = [("REFOLD__LOG__PARTITIONS", "0"), ("REFOLD__HTTP__PORT", "1")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let told = Settings::layered(&[missing, broken], Some(variables.into_iter().collect())).unwrap_err();
    let told = format!("{told:#}");
    for part in ["cannot read not-there.toml", "broken.toml is no TOML", "log.partitions", "\"port\""] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_slip_is_told_with_its_place_and_without_the_secret_on_its_line() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("slip.toml");
    for (slip, place) in [
        (format!("secret = \"{SECRET}"), "line 2, column"),
        (format!("secret = {SECRET}"), "line 2, column"),
        (format!("secret = '{SECRET}'\nsecret = '{SECRET}'"), "line 3, column 1:"),
        (format!("secret = '{SECRET}' x"), "line 2, column"),
        (format!("secret '{SECRET}'"), "line 2, column"),
        (format!("secret = \"{SECRET}\\q\""), "line 2, column"),
        (SECRET.to_owned(), "line 2, column"),
        (format!("secret = '{SECRET}'\nsecret.x = '{SECRET}'"), "line 3, column"),
    ] {
        fs::write(&file, format!("[auth]\n{slip}")).unwrap();
        let told = Settings::layered(std::slice::from_ref(&file), Some(Map::new())).unwrap_err();
        let told = format!("{told:#} {told:?}");
        assert!(told.contains("slip.toml is no TOML") && told.contains(place), "{slip}: {told}");
        assert!(!told.contains(SECRET) && !told.contains(&SECRET[..8]), "{told}");
    }
}

#[test]
fn a_bad_value_is_refused_also_where_a_later_layer_hides_it() {
    assert!(refused(&["log.partitions = 0"], &[("REFOLD__LOG__PARTITIONS", "1")]).contains("0.toml"));
}

/// That it could be loaded says that the file has no less than the struct, where no field has another default, and no
/// more, as the struct refuses what it does not know.
#[test]
fn the_default_file_has_exactly_the_keys_of_the_struct() {
    let mut keys = Vec::new();
    collect_keys("", &serde_json::to_value(load(&[], &[]).unwrap()).unwrap(), &mut keys);
    // Which routes there are, is for the routes to say.
    keys.retain(|key| route(key).is_none());
    let mut known: Vec<_> = KEYS.iter().map(|(key, _)| (*key).to_owned()).collect();
    keys.sort();
    known.sort();
    assert_eq!(keys, known, "the struct and the list of what is allowed");
}

fn collect_keys(section: &str, value: &serde_json::Value, keys: &mut Vec<String>) {
    let Some(table) = value.as_object() else {
        return keys.push(section.to_owned());
    };
    for (name, inner) in table {
        let key = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        collect_keys(&key, inner, keys);
    }
}

#[test]
fn the_default_file_explains_every_key() {
    for (key, allowed) in KEYS {
        let explanation = explanation(key);
        assert!(explanation.len() > 60, "{key} is hardly explained: {explanation}");
        for part in told_of(allowed) {
            assert!(explanation.contains(&part), "{key} does not tell {part}: {explanation}");
        }
    }
}

/// What the explanation of a key has to tell about what is allowed for it.
fn told_of(allowed: &Allowed) -> Vec<String> {
    match allowed {
        Allowed::Number(range) => vec![format!("{} to {}", range.start(), range.end())],
        Allowed::Word(words) => words.iter().map(|word| format!("{word:?}")).collect(),
        Allowed::Secret => vec![format!("at least {SECRET_BYTES_MIN} bytes")],
        Allowed::Categories | Allowed::Origins => vec!["at most 100".into()],
        Allowed::Broker => refold_adapters::brokers().map(|name| format!("{name:?}")).collect(),
        Allowed::Truth => vec!["true or false".into()],
        Allowed::LogName => vec!["1 to 64".into()],
        Allowed::Like(_) => vec![],
        Allowed::Address | Allowed::Path | Allowed::PathOrEmpty | Allowed::Filter | Allowed::Name => vec![],
    }
}

/// The comment right above a key of the default file, on one line.
fn explanation(key: &str) -> String {
    let (section, name) = key.split_once('.').unwrap_or(("", key));
    let start = if section.is_empty() { 0 } else { DEFAULT.find(&format!("\n[{section}]\n")).unwrap() };
    let before = &DEFAULT[start..start + DEFAULT[start..].find(&format!("\n{name} = ")).unwrap()];
    let comment = before.lines().rev().take_while(|line| line.starts_with("# "));
    let mut lines: Vec<_> = comment.map(|line| &line[2..]).collect();
    lines.reverse();
    lines.join(" ")
}

#[test]
fn every_word_that_is_allowed_is_understood() {
    for (key, allowed) in KEYS {
        let Allowed::Word(words) = allowed else { continue };
        for word in *words {
            assert!(load(&[&format!("{key} = {word:?}")], &[]).is_ok(), "{key} = {word}");
        }
    }
}

#[test]
fn the_bounds_themselves_are_allowed() {
    for (key, allowed) in KEYS {
        let Allowed::Number(range) = allowed else { continue };
        for bound in [range.start(), range.end()] {
            assert!(load(&[&format!("{key} = {bound}")], &[]).is_ok(), "{key} = {bound}");
        }
    }
}

#[test]
fn files_are_those_given_or_the_named_one_or_the_usual_ones() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let found = |given: &[PathBuf], names: &[(&str, PathBuf)]| {
        let find =
            |name: &str| names.iter().find(|(known, _)| *known == name).map(|(_, path)| path.clone().into());
        usual_files(given, root, find)
    };
    let home = ("HOME", root.to_owned());
    let xdg = ("XDG_CONFIG_HOME", root.join("xdg"));
    let named = (CONFIG_VARIABLE, PathBuf::from("named.toml"));
    assert!(found(&[], &[home.clone(), xdg.clone()]).is_empty(), "nothing is there");

    for path in ["xdg/refold/config.toml", ".config/refold/config.toml", "refold.toml"] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), "").unwrap();
    }
    let local = root.join("refold.toml");
    let in_home = root.join(".config/refold/config.toml");
    let in_xdg = root.join("xdg/refold/config.toml");
    assert_eq!(found(&[], std::slice::from_ref(&home)), [in_home, local.clone()]);
    assert_eq!(found(&[], &[home.clone(), xdg.clone()]), [in_xdg, local]);
    assert_eq!(found(&[], &[home.clone(), named.clone()]), [PathBuf::from("named.toml")]);
    let both = (CONFIG_VARIABLE, PathBuf::from("log.toml:store.toml"));
    assert_eq!(found(&[], &[home.clone(), both]), [PathBuf::from("log.toml"), PathBuf::from("store.toml")]);
    assert_eq!(found(&["given.toml".into()], &[home, named]), [PathBuf::from("given.toml")]);
}
