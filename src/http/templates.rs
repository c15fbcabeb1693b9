//! The paths of the OpenAPI document, `/introductions/{id}` for example, and which of them a request's path is one of.

use percent_encoding::percent_decode_str;
use serde_json::Value;

/// All paths, with something known of each.
#[derive(Debug)]
pub struct Templates<T>(Vec<Template<T>>);

#[derive(Debug)]
struct Template<T> {
    segments: Vec<Segment>,
    known: T,
}

#[derive(Debug)]
enum Segment {
    Literal(String),
    Parameter(String),
}

/// A path that was found.
#[derive(Debug)]
pub struct Found<'t, 'p, T> {
    /// What is known of it.
    pub known: &'t T,
    /// The parameters in it, by name, as they stand in the request's path.
    pub parameters: Vec<(&'t str, &'p str)>,
}

impl<T> Templates<T> {
    /// These paths, the first of which wins.
    pub fn new<'p>(paths: impl IntoIterator<Item = (&'p str, T)>) -> Self {
        let template =
            |(path, known)| Template { segments: segments(path).map(Segment::read).collect(), known };
        Self(paths.into_iter().map(template).collect())
    }

    /// The paths of a document, with what `know` makes of each.
    ///
    /// # Panics
    /// Where the document has none.
    pub fn of(document: &Value, know: impl Fn(&Value) -> T) -> Self {
        let paths = document["paths"].as_object().expect("a document has paths");
        Self::new(paths.iter().map(|(path, item)| (path.as_str(), know(item))))
    }

    /// The one that a path is of, with and without a slash at its end.
    pub fn find<'t, 'p>(&'t self, path: &'p str) -> Option<Found<'t, 'p, T>> {
        self.0.iter().find_map(|template| {
            let parameters = template.parameters(path)?;
            Some(Found { known: &template.known, parameters })
        })
    }
}

impl<T> Template<T> {
    /// The parameters in a path, if the path is one of these.
    fn parameters<'t, 'p>(&'t self, path: &'p str) -> Option<Vec<(&'t str, &'p str)>> {
        let mut known = self.segments.iter();
        let mut parameters = Vec::new();
        for segment in segments(path) {
            match known.next()? {
                Segment::Literal(literal) if !is(segment, literal) => return None,
                Segment::Literal(_) => {}
                Segment::Parameter(name) => parameters.push((name.as_str(), segment)),
            }
        }
        known.next().is_none().then_some(parameters)
    }
}

impl Segment {
    fn read(text: &str) -> Self {
        let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        name.map_or_else(|| Self::Literal(text.to_owned()), |name| Self::Parameter(name.to_owned()))
    }
}

/// The parts of a path, between its slashes.
pub fn segments(path: &str) -> impl Iterator<Item = &str> + Clone {
    path.trim_matches('/').split('/')
}

/// Whether a part of a request's path is this text, however it is encoded.
fn is(segment: &str, literal: &str) -> bool {
    percent_decode_str(segment).decode_utf8().is_ok_and(|text| text == literal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_is_found_with_and_without_a_slash() {
        let document = json!({"paths": {"/a": 1, "/a/{id}": 2, "/a/{id}/b": 3}});
        let templates = Templates::of(&document, Value::clone);
        let at = |path| templates.find(path).map(|found| (found.known.as_u64().unwrap(), found.parameters));
        assert_eq!((at("/a"), at("/a/")), (Some((1, vec![])), Some((1, vec![]))));
        assert_eq!(at("/a/%20/"), Some((2, vec![("id", "%20")])));
        assert_eq!(at("/a/7/b"), Some((3, vec![("id", "7")])));
        assert_eq!((at("/a/7/c"), at("/a/7/b/8"), at("/b"), at("/")), (None, None, None, None));
    }
}
