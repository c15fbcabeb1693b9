//! The first page: every view live, a form for each system, and how the service is doing.

use super::browser::File;
use poem::{Endpoint, EndpointExt, IntoEndpoint, Route, get};
use std::sync::Arc;

/// What the page may load: its own files, and what this service answers.
const SOURCES: &str = "script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:";
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const ICON: &str = "image/svg+xml";

/// What the page is made of: path, content type, content.
const FILES: [(&str, &str, &str); 15] = [
    ("/favicon.ico", ICON, include_str!("page/icon.svg")),
    ("/page/icon.svg", ICON, include_str!("page/icon.svg")),
    ("/page/style.css", CSS, include_str!("page/style.css")),
    ("/page/app.js", SCRIPT, include_str!("page/app.js")),
    ("/page/api.js", SCRIPT, include_str!("page/api.js")),
    ("/page/session.js", SCRIPT, include_str!("page/session.js")),
    ("/page/login.js", SCRIPT, include_str!("page/login.js")),
    ("/page/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/page/service.js", SCRIPT, include_str!("page/service.js")),
    ("/page/views.js", SCRIPT, include_str!("page/views.js")),
    ("/page/table.js", SCRIPT, include_str!("page/table.js")),
    ("/page/form.js", SCRIPT, include_str!("page/form.js")),
    ("/page/fact.js", SCRIPT, include_str!("page/fact.js")),
    ("/page/purchase.js", SCRIPT, include_str!("page/purchase.js")),
    ("/page/introduction.js", SCRIPT, include_str!("page/introduction.js")),
];

/// The page's files, and `api` at every other path.
pub fn routes<E>(api: impl IntoEndpoint<Endpoint = E>) -> Route
where
    E: Endpoint + 'static,
{
    let routes = FILES.iter().fold(Route::new(), |routes, (path, content_type, content)| {
        routes.at(path, get(File::new(content_type, *content, SOURCES)))
    });
    // What is nested at the root takes the root itself, too.
    let first = Arc::new(get(File::new(HTML, include_str!("page/index.html"), SOURCES)));
    let api = api.into_endpoint().map_to_response().around(move |api, request| {
        let first = Arc::clone(&first);
        async move {
            if request.uri().path() == "/" { first.call(request).await } else { api.call(request).await }
        }
    });
    routes.nest("/", api)
}

#[cfg(test)]
mod tests {
    use super::*;
    use poem::Request;
    use poem::endpoint::make_sync;

    async fn body_of(path: &'static str) -> String {
        let routes = routes(make_sync(|_| "the API"));
        let response = routes.call(Request::builder().uri_str(path).finish()).await.unwrap();
        response.into_body().into_string().await.unwrap()
    }

    #[tokio::test]
    async fn the_page_is_at_the_root_and_the_api_everywhere_else() {
        assert!(body_of("/").await.starts_with("<!doctype html>"));
        assert!(body_of("/page/app.js").await.starts_with("//"));
        assert_eq!(body_of("/foods").await, "the API");
        assert_eq!(body_of("/page/other").await, "the API");
    }

    #[test]
    fn every_file_that_is_imported_is_served() {
        let imported = FILES.iter().flat_map(|(_, _, content)| content.split("from \"./").skip(1));
        for rest in imported {
            let (name, _) = rest.split_once('"').unwrap();
            assert!(FILES.iter().any(|(path, _, _)| *path == format!("/page/{name}")), "{name}");
        }
    }
}
