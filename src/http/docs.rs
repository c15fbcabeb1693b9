//! The OpenAPI document as a page to try it on: Swagger UI, offline, allowed to run what it was built with.

use super::browser::{File, hashes};

/// The page at `/docs`, made of the HTML of Swagger UI, whose scripts and styles all stand in it.
pub fn page(html: String) -> File {
    let (scripts, styles): (Vec<_>, Vec<_>) =
        inline(&html).into_iter().partition(|(element, _)| *element == Element::Script);
    let hashes = |of: Vec<(Element, &str)>| hashes(of.into_iter().map(|(_, content)| content));
    let sources = format!(
        "script-src {}; style-src {}; connect-src 'self'; img-src 'self' data:",
        hashes(scripts),
        hashes(styles)
    );
    File::new("text/html; charset=utf-8", html, &sources)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Script,
    Style,
}

/// What stands between the tags of each script and style, to the byte, in the order of the document: so a tag named
/// in a script is no tag.
fn inline(html: &str) -> Vec<(Element, &str)> {
    let mut found = Vec::new();
    let mut rest = html;
    while let Some((element, content, tail)) = next(rest) {
        found.push((element, content));
        rest = tail;
    }
    found
}

/// The first element, its content, and what comes after it.
fn next(html: &str) -> Option<(Element, &str, &str)> {
    let tags = [(Element::Script, "<script", "</script>"), (Element::Style, "<style", "</style>")];
    let opened = tags.into_iter().filter_map(|tag| Some((html.find(tag.1)?, tag)));
    let (at, (element, _, close)) = opened.min_by_key(|(at, _)| *at)?;
    let (_, content) = html[at..].split_once('>')?;
    let (content, tail) = content.split_once(close)?;
    Some((element, content, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_inline_element_is_found_once() {
        let html =
            "<style a=\"b\">x</style><script>'<style>'</script>\n<p>script</p><script defer>\n2\n</script>";
        let expected = [(Element::Style, "x"), (Element::Script, "'<style>'"), (Element::Script, "\n2\n")];
        assert_eq!(inline(html), expected);
        assert!(inline("<script>never closed").is_empty());
    }
}
