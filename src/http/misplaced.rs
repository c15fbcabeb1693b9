//! What is asked of a process that only folds: it tells how it is doing, and nothing else.

use super::problem::Problem;
use crate::settings::role::Role;
use poem::Request;

/// What every process answers.
const OPERATIONS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Refuses what processes of this role leave to others.
///
/// # Errors
/// Who answers it.
pub fn refuse(role: Role, request: &Request) -> Result<(), Problem> {
    let path = request.uri().path();
    if role != Role::Projector || OPERATIONS.contains(&path.trim_end_matches('/')) {
        return Ok(());
    }
    let detail = format!(
        "This process only folds, and answers {}: commands and queries are answered by those with the role \"api\" or \"all\".",
        OPERATIONS.join(", ")
    );
    Err(Problem::not_found(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projector_only_tells_how_it_is_doing() {
        let request = |path: &str| Request::builder().uri(path.parse().unwrap()).finish();
        for path in ["/readyz", "/readyz/", "/metrics", "/healthz"] {
            refuse(Role::Projector, &request(path)).unwrap();
        }
        for path in ["/", "/foods", "/openapi.json", "/readyz/x"] {
            assert!(refuse(Role::Projector, &request(path)).is_err(), "{path}");
            refuse(Role::Api, &request(path)).unwrap();
            refuse(Role::All, &request(path)).unwrap();
        }
    }
}
