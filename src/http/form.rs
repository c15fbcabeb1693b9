//! Reading a form (`application/x-www-form-urlencoded`): bounded as a JSON body is, each field once, and all of them texts.

use super::body::{self, Parse};
use super::problem::Problem;
use percent_encoding::percent_decode_str;
use poem::{Request, RequestBody};
use poem_openapi::payload::{ParsePayload, Payload};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions, types};
use refold_domain::validation::FieldError;
use serde_json::map::Entry;
use serde_json::{Map, Value};

/// The content type.
const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";
/// How many bytes a form may have: a user name and a password in their longest form, and some more.
const BYTES_MAX: usize = 16 << 10;

/// A form, read and found good.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: Parse> Payload for Form<T> {
    const CONTENT_TYPE: &'static str = CONTENT_TYPE;

    fn check_content_type(content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default();
        essence.trim().eq_ignore_ascii_case(CONTENT_TYPE)
    }

    fn schema_ref() -> MetaSchemaRef {
        <T::Schema as types::Type>::schema_ref()
    }

    fn register(registry: &mut Registry) {
        <T::Schema as types::Type>::register(registry);
    }
}

impl<T: Parse> ParsePayload for Form<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> poem::Result<Self> {
        let bytes = body::read(request, body, BYTES_MAX).await?;
        Ok(Self(T::parse(&fields(&bytes)?).map_err(Problem::validation)?))
    }
}

/// The fields of a form, as an object of texts.
fn fields(form: &[u8]) -> Result<Value, Problem> {
    let unreadable = || Problem::syntax("the form must be percent-encoded UTF-8");
    let form = std::str::from_utf8(form).map_err(|_| unreadable())?;
    let decode = |encoded: &str| {
        let blanks = encoded.replace('+', " ");
        percent_decode_str(&blanks).decode_utf8().map(|text| text.into_owned()).map_err(|_| unreadable())
    };
    let mut fields = Map::new();
    for pair in form.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match fields.entry(decode(name)?) {
            Entry::Vacant(place) => drop(place.insert(decode(value)?.into())),
            Entry::Occupied(place) => {
                let (field, reason) = (place.key().clone(), "must be given once".into());
                return Err(Problem::validation(vec![FieldError { field, reason }]));
            }
        }
    }
    Ok(Value::Object(fields))
}

impl<'a, T: Parse> ApiExtractor<'a> for Form<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Self as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content =
            vec![MetaMediaType { content_type: CONTENT_TYPE, schema: <Self as Payload>::schema_ref() }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        if !request.content_type().is_some_and(Self::check_content_type) {
            return Err(Problem::content_type(CONTENT_TYPE).into());
        }
        <Self as ParsePayload>::from_request(request, body).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_decoded() {
        let form = "username=Am%C3%A9lie+7&password=a%2Bb%26c%3D%25&scope=&grant_type&&";
        let read = json!({"username": "Amélie 7", "password": "a+b&c=%", "scope": "", "grant_type": ""});
        assert_eq!(fields(form.as_bytes()), Ok(read));
        assert_eq!(fields(b""), Ok(json!({})));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for form in [&b"password=%ff"[..], b"\xff=1", b"%ff=1"] {
            assert_eq!(fields(form), Err(Problem::syntax("the form must be percent-encoded UTF-8")));
        }
        assert_eq!(
            fields(b"password=one&pass%77ord=two").unwrap_err().told().1,
            "urn:refold:problem:validation"
        );
    }

    #[test]
    fn only_forms_are_forms() {
        let is_form = Form::<super::super::login::Credentials>::check_content_type;
        assert!(is_form(CONTENT_TYPE) && is_form("Application/X-WWW-Form-Urlencoded; charset=UTF-8"));
        assert!(!is_form("application/json") && !is_form("multipart/form-data"));
    }
}
