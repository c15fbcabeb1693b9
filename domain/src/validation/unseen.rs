//! Characters that show nothing, which hide in names.

use icu_collections::codepointinvlist::{CodePointInversionList, CodePointInversionListBuilder};
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup, WhiteSpace};
use icu_properties::{CodePointMapData, CodePointSetData};
use std::fmt::Write;
use std::sync::LazyLock;

/// What shows nothing by its shape, though for Unicode it is a symbol, a letter or a mark: letters for the blind without any
/// dots, a note without a head, fillers and blanks among signs.
const EMPTY: [char; 5] = ['\u{2800}', '\u{13441}', '\u{13442}', '\u{16fe4}', '\u{1d159}'];

static UNSEEN: LazyLock<CodePointInversionList<'static>> = LazyLock::new(|| {
    let categories = GeneralCategoryGroup::Control.union(GeneralCategoryGroup::Format);
    let mut unseen = CodePointInversionListBuilder::new();
    let mut add = |range| unseen.add_range32(range);
    CodePointMapData::<GeneralCategory>::new().iter_ranges_for_group(categories).for_each(&mut add);
    CodePointSetData::new::<WhiteSpace>().iter_ranges().for_each(&mut add);
    CodePointSetData::new::<DefaultIgnorableCodePoint>().iter_ranges().for_each(&mut add);
    EMPTY.into_iter().for_each(|c| unseen.add_char(c));
    unseen.build()
});

/// Whether a character shows anything: blanks of all sorts, controls, joiners, marks of direction, tags and fillers do not.
pub fn is_visible(c: char) -> bool {
    !UNSEEN.contains(c)
}

/// All characters that show nothing, as the inside of a class of a regular expression.
pub fn class() -> &'static str {
    static CLASS: LazyLock<String> = LazyLock::new(|| class_of(&UNSEEN));
    &CLASS
}

/// Characters as the inside of a class of a regular expression.
pub(crate) fn class_of(characters: &CodePointInversionList<'_>) -> String {
    characters.iter_ranges().fold(String::new(), |mut class, range| {
        let (first, last) = range.into_inner();
        class += &escaped(first);
        if last > first {
            write!(class, "-{}", escaped(last)).expect("a string takes everything");
        }
        class
    })
}

/// A character as every dialect reads it: for those beyond four digits each has an escape of its own.
fn escaped(code: u32) -> String {
    match char::from_u32(code) {
        Some(c) if code > 0xffff => c.to_string(),
        _ => format!("\\u{code:04x}"),
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    #[test]
    fn the_class_has_what_shows_nothing_and_nothing_else() {
        let unseen = Regex::new(&format!("^[{}]$", class())).unwrap();
        for c in char::MIN..=char::MAX {
            assert_eq!(unseen.is_match(c.encode_utf8(&mut [0; 4])), !is_visible(c), "{c:?}");
        }
        let is_seen = |text: &str| text.chars().map(is_visible).collect::<Vec<_>>();
        assert_eq!(is_seen("a7-\u{e9}\u{611b}\u{301}\u{1f600}\u{e000}\u{fffd}"), [true; 9]);
        assert_eq!(is_seen(" \0\u{a0}\u{200b}\u{202e}\u{2800}\u{fe0f}\u{fff9}\u{e0061}"), [false; 9]);
    }
}
