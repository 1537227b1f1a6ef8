//! Regular expressions for topics, as consumers send them: RE2's syntax, matched against whole names.

use regex::{Regex, RegexBuilder};

/// What a compiled expression may take. One that is larger is refused: a peer chooses it.
const COMPILED_SIZE_BYTES_MAX: usize = 256 << 10;
/// What its cache may take while it is matched.
const CACHE_SIZE_BYTES_MAX: usize = 256 << 10;
/// How deep groups may be nested.
const NESTING_MAX: u32 = 64;

/// A compiled expression. Groups keep the text and compile it when they need it, so that it takes no memory in between.
#[derive(Debug)]
pub struct TopicPattern(Regex);

impl TopicPattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Why it cannot be used, in words.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = unquoted(text);
        // By itself first: what closes more groups than it opens must not close the one around it.
        compile(&text)?;
        compile(&format!(r"\A(?:{text})\z")).map(Self)
    }

    /// Whether the whole name matches.
    pub fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}

fn compile(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .size_limit(COMPILED_SIZE_BYTES_MAX)
        .dfa_size_limit(CACHE_SIZE_BYTES_MAX)
        .nest_limit(NESTING_MAX)
        .build()
        .map_err(|error| error.to_string())
}

/// Replaces `\Q...\E`, which the library does not know, by the characters between.
fn unquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        if let Some(quoted) = escape.strip_prefix("\\Q") {
            let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
            out.push_str(&regex::escape(literal));
            rest = after;
        } else {
            let length = escape.chars().take(2).map(char::len_utf8).sum();
            let (two, after) = escape.split_at(length);
            out.push_str(two);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_match() {
        let table = [
            ("t.*", "topic", true),
            ("t.*", "a-topic", false),
            ("a|ab", "ab", true),
            ("(?i)TOPIC", "topic", true),
            (r"\Qa.b\E.*", "a.b.c", true),
            (r"\Qa.b\E.*", "axb", false),
            (r"x\\Q", r"x\Q", true),
            ("^t$", "t", true),
            (r"[a-c]+\d{2}", "abc12", true),
            ("", "t", false),
        ];
        for (pattern, topic, expected) in table {
            let compiled = TopicPattern::new(pattern).unwrap();
            assert_eq!(compiled.matches(topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn what_is_no_expression_or_too_large_is_refused() {
        let deep = "(".repeat(1000) + &")".repeat(1000);
        for pattern in ["(", "[", "a)|(b", "a**{", "(a{1000}){1000}", "\\", &deep] {
            assert!(TopicPattern::new(pattern).is_err(), "{pattern}");
        }
    }
}
