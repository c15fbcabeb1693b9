//! Collects the definitions in force: the compiled-in ones, and what a directory adds or overrides.

use super::Definition;
use super::categories::{Categories, WATCHING};
use super::check::{Checked, Source, check};
use super::problem::{DefinitionErrors, Problem};
use refold_domain::schema::{self, EventType};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// How many bytes a definition's file may have.
pub const DEFINITION_BYTES_MAX: u64 = 64 * 1024;
/// How many definitions a directory may hold.
pub const DEFINITIONS_MAX: usize = 256;

/// The compiled-in definitions, by name.
const DEFAULTS: &[(&str, &str)] = &[
    ("detections", include_str!("../../detections.toml")),
    ("food_counts", include_str!("../../food_counts.toml")),
    ("introduction_history", include_str!("../../introduction_history.toml")),
    ("introductions", include_str!("../../introductions.toml")),
    ("picture_weights", include_str!("../../picture_weights.toml")),
    ("purchases_by_day", include_str!("../../purchases_by_day.toml")),
    ("revenue_by_day", include_str!("../../revenue_by_day.toml")),
    ("scoops_by_day", include_str!("../../scoops_by_day.toml")),
    ("suspicious_vehicles", include_str!("../../suspicious_vehicles.toml")),
    ("vehicles_per_make", include_str!("../../vehicles_per_make.toml")),
];
/// Not a definition: in a checkout, the package's manifest lies beside the compiled-in ones.
const MANIFEST: &str = "Cargo.toml";

/// The compiled-in definitions, sorted by name.
///
/// # Panics
/// Never: a test loads them.
pub fn defaults() -> Vec<Definition> {
    load(None, &Categories::default()).expect("the compiled-in definitions are right")
}

/// The compiled-in definitions, and on top of them those of a directory, sorted by name.
///
/// A file `<name>.toml` replaces the definition of that name, adds one of its own, or switches one off by
/// `enabled = false`. Files of other endings and hidden ones are ignored. `watched` is what the built-in definition of
/// suspicious vehicles watches for.
///
/// # Errors
/// All that is wrong with all files, and a file that says itself which vehicles are suspicious where that is set.
pub fn load(dir: Option<&Path>, watched: &Categories) -> Result<Vec<Definition>, DefinitionErrors> {
    let (files, mut problems) = dir.map_or_else(Default::default, read);
    let watching = files.iter().find(|source| source.name == WATCHING && !watched.are_built_in());
    problems.extend(watching.map(|source| Problem::of_file(&source.file, said_twice(watched))));
    let compiled_in = |(name, text): &(&str, &str)| Source {
        file: format!("{name}.toml (compiled in)"),
        name: (*name).into(),
        text: watched.named_in(name, text).into_owned(),
    };
    let defaults: Vec<_> = DEFAULTS.iter().map(compiled_in).collect();
    assemble(schema::EVENT_TYPES, &defaults, &files, problems)
}

fn said_twice(watched: &Categories) -> String {
    format!(
        "says which vehicles are suspicious, and so does the setting vehicles.suspicious (or $SUSPICIOUS_VEHICLE), \
         which is {watched}: take one of them away"
    )
}

fn assemble(
    types: &'static [&'static EventType],
    defaults: &[Source],
    files: &[Source],
    mut problems: Vec<Problem>,
) -> Result<Vec<Definition>, DefinitionErrors> {
    let mut in_force = BTreeMap::new();
    for source in defaults.iter().chain(files) {
        match check(types, source) {
            Ok(Checked::On(definition)) => drop(in_force.insert(source.name.clone(), *definition)),
            Ok(Checked::Off) => drop(in_force.remove(&source.name)),
            Err(found) => problems.extend(found.0),
        }
    }
    if problems.is_empty() { Ok(in_force.into_values().collect()) } else { Err(DefinitionErrors(problems)) }
}

/// The definitions' files of a directory, sorted by name, and what could not be read.
fn read(dir: &Path) -> (Vec<Source>, Vec<Problem>) {
    let unreadable = |path: &Path, error: io::Error| {
        Problem::of_file(path.display().to_string(), format!("cannot be read: {error}"))
    };
    let paths = match paths(dir) {
        Ok(paths) => paths,
        Err(error) => return (Vec::new(), vec![unreadable(dir, error)]),
    };
    if paths.len() > DEFINITIONS_MAX {
        let reason = format!("holds {} definitions, more than {DEFINITIONS_MAX}", paths.len());
        return (Vec::new(), vec![Problem::of_file(dir.display().to_string(), reason)]);
    }
    let (mut sources, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        match source(&path) {
            Ok(source) => sources.push(source),
            Err(error) => problems.push(unreadable(&path, error)),
        }
    }
    (sources, problems)
}

fn paths(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".toml") && !name.starts_with('.') && name != MANIFEST {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn source(path: &Path) -> io::Result<Source> {
    // A pipe would be waited for without end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(DEFINITION_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > DEFINITION_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {DEFINITION_BYTES_MAX} bytes")));
    }
    let text =
        String::from_utf8(bytes).map_err(|error| io::Error::other(format!("it is not UTF-8: {error}")))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Source { file: path.display().to_string(), name, text })
}

#[cfg(test)]
mod tests {
    use super::super::required::REQUIRED;
    use super::*;

    /// A directory with these files, and what loading it says.
    fn load_files(files: &[(&str, &[u8])]) -> Result<Vec<Definition>, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let prefix = format!("{}/", dir.path().display());
        load(Some(dir.path()), &Categories::default())
            .map_err(|errors| errors.to_string().replace(&prefix, ""))
    }

    fn names(definitions: &[Definition]) -> Vec<&str> {
        definitions.iter().map(|definition| definition.name.as_str()).collect()
    }

    #[test]
    fn the_defaults_are_right_and_every_file_is_one() {
        let definitions = defaults();
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let stems = paths(dir).unwrap();
        let stems: Vec<_> = stems.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
        assert_eq!(names(&definitions), stems);
        // A checkout's own folder can be named too.
        assert_eq!(names(&load(Some(dir), &Categories::default()).unwrap()), stems);
    }

    #[test]
    fn what_routes_are_built_on_is_compiled_in() {
        let defaults = defaults();
        for required in &REQUIRED {
            let found = defaults.iter().find(|it| it.name == required.name).unwrap();
            assert_eq!(required.differs(found), None, "{}", required.name);
        }
    }

    #[test]
    fn a_directory_adds_and_overrides() {
        let text = "name = 'food_counts'\ntitle = 'Essen'\non = ['food.observed']\ncount.by = 'food'\n";
        let loaded = load_files(&[
            ("pies.toml", b"name = 'pies'\non = 'food.observed'\nwhere = { food = 'pie' }\ncount = {}"),
            ("food_counts.toml", text.as_bytes()),
            ("README.md", b"not a definition"),
            (".pies.toml", b"an editor's"),
        ]);
        let loaded = loaded.unwrap();
        let mut expected = names(&defaults()).iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        expected.push("pies".into());
        expected.sort();
        assert_eq!(names(&loaded), expected);
        let found = |name: &str| loaded.iter().find(|it| it.name == name).unwrap();
        assert_eq!(found("food_counts").title.as_deref(), Some("Essen"));
        assert_eq!(found("pies").to_string(), r#"on food.observed where food = "pie": counts"#);
    }

    #[test]
    fn a_definition_can_be_switched_off() {
        let pies = |text: &str| Source { file: "pies.toml".into(), name: "pies".into(), text: text.into() };
        let off = pies("name = 'pies'\nenabled = false");
        let default = [pies("name = 'pies'\non = 'food.observed'\ncount = {}")];
        let load = |files: &[Source]| assemble(schema::EVENT_TYPES, &default, files, Vec::new()).unwrap();
        assert_eq!(names(&load(&[])), ["pies"]);
        assert!(load(&[off]).is_empty());
    }

    #[test]
    fn what_routes_are_built_on_stays() {
        let errors = load_files(&[
            ("food_counts.toml", b"name = 'food_counts'\nenabled = false"),
            (
                "introductions.toml",
                b"name = 'introductions'\nlatest = {}\n\
                  on = ['introduction.introduced', 'introduction.revised']",
            ),
            (
                "purchases_by_day.toml",
                b"on = 'purchase.recorded'\nname = 'purchases_by_day'\nwhere = { shop_id = 'a' }\n\
                  rows = { by = 'shop_id', time = 'timestamp' }",
            ),
            ("suspicious_vehicles.toml", b"name = 'suspicious_vehicles'\non = 'food.observed'\nrows = {}"),
        ]);
        assert_eq!(
            errors.unwrap_err(),
            "food_counts.toml:2:11: food_counts cannot be switched off: GET /aggregated is built on it\n\
             introductions.toml:1:8: introductions must stay `on introduction.introduced, introduction.revised: \
             latest, removed on introduction.withdrawn`, for GET /introductions is built on it; \
             this is `on introduction.introduced, introduction.revised: latest`\n\
             purchases_by_day.toml:2:8: purchases_by_day must stay `on purchase.recorded: rows by shop_id, \
             ordered by timestamp`, for GET /purchases/{shop_id} is built on it; \
             this is `on purchase.recorded where shop_id = \"a\": rows by shop_id, ordered by timestamp`\n\
             suspicious_vehicles.toml:1:8: suspicious_vehicles must stay `on vehicle.detected`, for GET /alerts is \
             built on it; this is `on food.observed`"
        );
    }

    #[test]
    fn which_vehicles_are_suspicious_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let text = "name = 'suspicious_vehicles'\non = 'vehicle.detected'\nwhere = { year = { max = 1900 } }\ncount = {}";
        fs::write(dir.path().join("suspicious_vehicles.toml"), text).unwrap();
        let load = |watched: &str| load(Some(dir.path()), &watched.parse().unwrap());
        let found = load("SUV").unwrap().into_iter().find(|definition| definition.name == WATCHING).unwrap();
        assert_eq!(found.to_string(), "on vehicle.detected where year <= 1900: counts");
        let refused = load("Coupe").unwrap_err().to_string();
        assert!(
            refused.contains("suspicious_vehicles.toml") && refused.contains("vehicles.suspicious"),
            "{refused}"
        );
    }

    #[test]
    fn every_file_is_checked_before_any_is_refused() {
        let long = vec![b'#'; usize::try_from(DEFINITION_BYTES_MAX).unwrap() + 1];
        let errors = load_files(&[
            ("a.toml", b"name = 'b'\non = 'food.observed'\ncount = {}"),
            ("b.toml", b"name = 'b'\non = 'food.observed'\ncount = {}"),
            ("c.toml", b"\xff"),
            ("d.toml", &long),
            ("e.toml", b"name = 'e'\nons = 1"),
        ]);
        let errors = errors.unwrap_err();
        let lines: Vec<_> = errors.lines().collect();
        assert_eq!(lines.len(), 6, "{errors}");
        for (line, start) in lines.iter().zip([
            "c.toml: cannot be read: it is not UTF-8",
            "d.toml: cannot be read: it has more than 65536 bytes",
            "a.toml:1:8: name must be the file's, \"a\", not \"b\"",
            "e.toml:1:1: a view is missing",
            "e.toml:1:1: on is missing",
            "e.toml:2:1: unknown key \"ons\"",
        ]) {
            assert!(line.starts_with(start), "{line}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("nowhere");
        let error = load(Some(&missing), &Categories::default()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: cannot be read: ", missing.display())), "{error}");
        fs::create_dir(dir.path().join("folder.toml")).unwrap();
        let error = load(Some(dir.path()), &Categories::default()).unwrap_err().to_string();
        assert!(error.ends_with("folder.toml: cannot be read: it is not a file"), "{error}");
    }

    #[test]
    fn more_definitions_than_a_process_can_fold_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..=DEFINITIONS_MAX {
            fs::write(dir.path().join(format!("p{number}.toml")), "").unwrap();
        }
        let error = load(Some(dir.path()), &Categories::default()).unwrap_err().to_string();
        assert!(error.ends_with("holds 257 definitions, more than 256"), "{error}");
    }
}
