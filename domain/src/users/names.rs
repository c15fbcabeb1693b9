//! What a user may be called: to log in, where one name must not pass for another, and by people.

use crate::validation::unseen::{self, class_of, is_visible};
use crate::validation::{Pattern, text};
use icu_collections::codepointinvlist::CodePointInversionListBuilder;
use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};
use serde_json::Value;
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use unicode_normalization::UnicodeNormalization;

/// How many characters a name may have, the first and the last one.
pub const NAME_CHARS: RangeInclusive<usize> = 1..=200;
/// How many characters a user name may have.
pub const USERNAME_CHARS: RangeInclusive<usize> = 1..=64;

/// A user name: letters, their marks and digits, and some of the punctuation of ASCII; it begins with a letter or a digit.
pub static USERNAME: LazyLock<Pattern> = LazyLock::new(|| {
    let first = GeneralCategoryGroup::Letter.union(GeneralCategoryGroup::DecimalNumber);
    let further = first.union(GeneralCategoryGroup::Mark);
    let (first, further) = (characters(first, further), characters(further, further));
    Pattern::new(
        format!(r"^[{first}][{further}\x2b\x2d\x2e\x40\x5f]*$"),
        "must begin with a letter or a digit, and have no others than those, their marks and . _ - @ +",
    )
});

/// The characters that a part of a user name may have, as the inside of a class of a regular expression: those that can be
/// seen, and still are of these categories in the form in which the name is unique.
fn characters(first: GeneralCategoryGroup, further: GeneralCategoryGroup) -> String {
    let categories = CodePointMapData::<GeneralCategory>::new();
    let is_of = |c: char, group: GeneralCategoryGroup| group.contains(categories.get(c));
    let fits = |c: &char| {
        let mut parts = c.nfkc();
        is_visible(*c)
            && parts.next().is_some_and(|c| is_of(c, first) && is_visible(c))
            && parts.all(|c| is_of(c, further) && is_visible(c))
    };
    let mut list = CodePointInversionListBuilder::new();
    let all = categories.iter_ranges_for_group(first).flatten().filter_map(char::from_u32);
    all.filter(fits).for_each(|c| list.add_char(c));
    class_of(&list.build())
}

/// A name among people: something in it can be seen, and nothing in it controls what is around it, such as the direction
/// of the text. Joiners and variants of letters are how some names are written.
pub static NAME: LazyLock<Pattern> = LazyLock::new(|| {
    let (unseen, controls) =
        (unseen::class(), r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069");
    Pattern::new(
        format!("^[^{controls}]*[^{unseen}][^{controls}]*$"),
        "must have a character that can be seen, and none that changes the direction or the line of the text",
    )
});

/// A user name or an e-mail address in the form in which it is unique: without a case, without a width and without what else is
/// only another look of the same (NFKC). As Unicode has it (D146), it is taken apart first, for what becomes of a letter must not
/// depend on whether its marks stand in it or behind it.
pub fn normalised(text: &str) -> String {
    text.nfd().flat_map(caseless).nfkd().flat_map(caseless).nfkc().collect()
}

/// A letter without its case. Some have more cases than two: so those are one, such as σ and ς, that are one in upper case.
/// What becomes of a letter does not depend on where it stands.
fn caseless(c: char) -> impl Iterator<Item = char> {
    c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Reads a user name.
///
/// # Errors
/// What it must be.
pub(super) fn username(value: &Value) -> Result<String, String> {
    USERNAME.hold(text(value, &USERNAME_CHARS, &[])?)
}

/// Reads a name.
///
/// # Errors
/// What it must be.
pub(super) fn name(value: &Value) -> Result<String, String> {
    NAME.hold(text(value, &NAME_CHARS, &[])?)
}
