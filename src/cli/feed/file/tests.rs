//! What is a file of commands, and what is told of one that is not.

use super::*;
use std::fs;
use tempfile::TempDir;

fn written(name: &str, text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(name);
    fs::write(&path, text).unwrap();
    (home, path)
}

/// The commands of a file, each with its line.
fn commands(name: &str, text: &str, system: System) -> Vec<(u64, String)> {
    let (_home, path) = written(name, text);
    let mut file = File::open(&path, system).unwrap();
    let mut commands = Vec::new();
    while let Some(Command { json, line }) = file.next().unwrap() {
        commands.push((line, String::from_utf8(json).unwrap()));
    }
    assert_eq!(commands.len() as u64, file.commands());
    commands
}

/// What is told of a file that is refused, without the directory it is in.
fn refused(name: &str, text: impl AsRef<[u8]>, system: System) -> String {
    let (home, path) = written(name, text);
    let told = format!("{:#}", File::open(&path, system).unwrap_err());
    told.replace(&format!("{}/", home.path().display()), "")
}

#[test]
fn lines_are_sent_as_they_stand() {
    let text = "{\"Year\": 2020, \"Make\": \"Audi\", \"Model\": \"Q3\", \"Category\": \"SUV\"}\r\n\n  \n{\"year\":1994,\"make\":\"Alfa Romeo\",\"model\":\"164\",\"category\":\"Sedan\"}";
    let expected = [
        (1, r#"{"Year": 2020, "Make": "Audi", "Model": "Q3", "Category": "SUV"}"#.to_owned()),
        (4, r#"{"year":1994,"make":"Alfa Romeo","model":"164","category":"Sedan"}"#.to_owned()),
    ];
    assert_eq!(commands("d.ndjson", text, System::Detections), expected);
}

#[test]
fn a_table_says_how_often() {
    let text = "\u{feff}food,count\r\npie,2\r\n\"fish, \"\"fresh\"\"\",1\r\nair,0\r\n";
    let pie = (2, r#"{"food":"pie"}"#.to_owned());
    let fish = (3, r#"{"food":"fish, \"fresh\""}"#.to_owned());
    assert_eq!(commands("f.CSV", text, System::Foods), [pie.clone(), pie, fish]);
}

#[test]
fn a_table_has_numbers_and_gaps() {
    let text = "Category,Make,Year,model\nSUV,Audi,2020,Q3\n";
    let expected = r#"{"Category":"SUV","Make":"Audi","Year":2020,"model":"Q3"}"#.to_owned();
    assert_eq!(commands("d.csv", text, System::Detections), [(2, expected)]);
    let text = "name,message,email\nAda,Hello,\n";
    let expected = r#"{"name":"Ada","message":"Hello"}"#.to_owned();
    assert_eq!(commands("i.csv", text, System::Introductions), [(2, expected)]);
    let text = "picture_id,weight\n000000007088,20\n";
    let expected = r#"{"picture_id":"000000007088","weight":20}"#.to_owned();
    assert_eq!(commands("p.csv", text, System::Pictures), [(2, expected)]);
}

#[test]
fn bad_lines_are_named() {
    let told = refused("f.ndjson", "{\"food\":\"pie\"}\n\n{\"food\":1,\"fod\":2}\n{\n", System::Foods);
    let (first, lines) = told.split_once('\n').unwrap();
    assert_eq!(first, "lines of it are no commands of foods; nothing was sent:");
    let lines: Vec<_> = lines.lines().collect();
    assert!(lines[0].starts_with("f.ndjson:3: food must be a text") && lines[0].contains("; fod "), "{told}");
    assert!(lines[1].starts_with("f.ndjson:4: is no JSON: EOF") && lines[1].ends_with("column 1"), "{told}");

    let told = refused("f.csv", "food,count\npie,2\npie,many\npie\n,1\nx,-1\n", System::Foods);
    for line in [
        "f.csv:3: count must be a whole number from 0",
        "f.csv:4: has 1 cell, where the first line names 2",
        "f.csv:5: food is missing",
        "f.csv:6: count must",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    let told = refused("f.csv", b"food\npie\n\xff\n", System::Foods);
    assert!(told.contains("f.csv:3: is not UTF-8"), "{told}");
}

#[test]
fn a_byte_order_mark_is_none_of_the_text() {
    let pie = || vec![(2, r#"{"food":"pie"}"#.to_owned())];
    assert_eq!(commands("f.csv", "\u{feff}food\npie\n", System::Foods), pie());
    assert_eq!(commands("f.ndjson", "\u{feff}\n{\"food\":\"pie\"}", System::Foods), pie());
}

#[test]
fn so_many_bad_lines_are_told_and_no_more() {
    let told = refused("f.ndjson", "{}\n".repeat(BAD_LINES_TOLD + 2), System::Foods);
    assert!(told.contains("f.ndjson:10: ") && !told.contains("f.ndjson:11: "), "{told}");
    assert!(told.ends_with("\nand 2 more lines"), "{told}");
}

#[test]
fn what_cannot_be_sent_at_all_is_refused() {
    for (name, text, system, told) in [
        ("f.ndjson", "\n", System::Foods, "f.ndjson holds no command"),
        ("f.csv", "food,count\nair,0\n", System::Foods, "f.csv holds no command"),
        (
            "f.csv",
            "fod,count\n",
            System::Foods,
            "f.csv:1: there is no column \"fod\" in foods; known: food, count",
        ),
        ("f.csv", "food,food\n", System::Foods, "f.csv:1: the column \"food\" is there twice"),
        ("p.csv", "shop_id\n", System::Purchases, "purchases do not fit into a table"),
    ] {
        let said = refused(name, text, system);
        assert!(said.contains(told), "{told}: {said}");
    }
    let long = format!("{{\"food\":\"pie\"}}\n{}\n", " ".repeat(1 << 20));
    assert_eq!(refused("f.ndjson", long, System::Foods), "f.ndjson:2: has more than 1048576 bytes");
    let told = format!("{:#}", File::open(Path::new("/dev/null"), System::Foods).unwrap_err());
    assert!(told.contains("no file that can be read twice"), "{told}");
    let told = format!("{:#}", File::open(Path::new("missing.csv"), System::Foods).unwrap_err());
    assert!(told.contains("cannot open missing.csv"), "{told}");
}
