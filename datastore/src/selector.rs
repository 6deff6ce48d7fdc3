//! Calico's selector language, parsed once and matched often.
//!
//! ```text
//! expression := conjunction ( "||" conjunction )*
//! conjunction := operation ( "&&" operation )*
//! operation := "!"* ( "(" expression ")" | "all()" | "global()" | "has(" label ")"
//!            | label ( "==" | "!=" | "contains" | "starts with" | "ends with" ) string
//!            | label ( "in" | "not in" ) "{" string ( "," string )* "}" )
//! ```
//!
//! As in Calico, `!=` and `not in` hold where the label is absent, an empty selector selects all, a comma may stand
//! behind the last string of a set, and the two words of an operator may stand together (`notin`, `startswith`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A parsed selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    root: Expression,
}

/// Where and why a selector does not parse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {why}")]
pub struct SelectorError {
    /// Counted from 1.
    pub at: usize,
    /// The fault.
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    All,
    Global,
    Has(String),
    Equals(String, String),
    Differs(String, String),
    In(String, BTreeSet<String>),
    NotIn(String, BTreeSet<String>),
    Contains(String, String),
    StartsWith(String, String),
    EndsWith(String, String),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

/// A namespaced object carries this label; `global()` selects objects without it.
const NAMESPACE_LABEL: &str = "projectcalico.org/namespace";

/// Deeper nesting than this is a fault of its own, so that no text can exhaust the stack.
const DEPTH_MAX: usize = 100;

impl Selector {
    /// Parses; empty text selects all.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        let tokens = tokens(text)?;
        if tokens.is_empty() {
            return Ok(Selector {
                root: Expression::All,
            });
        }
        let mut parser = Parser {
            tokens: &tokens,
            next: 0,
            end: text.chars().count() + 1,
        };
        let root = parser.disjunction(0)?;
        match parser.peek() {
            None => Ok(Selector { root }),
            Some(token) => Err(parser.fault(format!("unexpected {token}"))),
        }
    }

    /// Whether `global()` stands somewhere in it.
    pub fn speaks_of_global(&self) -> bool {
        self.root.speaks_of_global()
    }

    /// Whether it is `global()` and nothing else.
    pub fn is_global(&self) -> bool {
        self.root == Expression::Global
    }

    /// Whether it selects something with these labels.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.root.matches(labels)
    }
}

impl Expression {
    fn speaks_of_global(&self) -> bool {
        match self {
            Expression::Global => true,
            Expression::Not(inner) => inner.speaks_of_global(),
            Expression::And(parts) | Expression::Or(parts) => {
                parts.iter().any(Expression::speaks_of_global)
            }
            _ => false,
        }
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = |label: &String| labels.get(label);
        match self {
            Expression::All => true,
            Expression::Global => !labels.contains_key(NAMESPACE_LABEL),
            Expression::Has(label) => labels.contains_key(label),
            Expression::Equals(label, wanted) => value(label) == Some(wanted),
            Expression::Differs(label, unwanted) => value(label) != Some(unwanted),
            Expression::In(label, set) => value(label).is_some_and(|value| set.contains(value)),
            Expression::NotIn(label, set) => !value(label).is_some_and(|value| set.contains(value)),
            Expression::Contains(label, part) => {
                value(label).is_some_and(|value| value.contains(part.as_str()))
            }
            Expression::StartsWith(label, part) => {
                value(label).is_some_and(|value| value.starts_with(part.as_str()))
            }
            Expression::EndsWith(label, part) => {
                value(label).is_some_and(|value| value.ends_with(part.as_str()))
            }
            Expression::Not(inner) => !inner.matches(labels),
            Expression::And(parts) => parts.iter().all(|part| part.matches(labels)),
            Expression::Or(parts) => parts.iter().any(|part| part.matches(labels)),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

/// With no more parentheses than it takes, so that what could be parsed is not nested too deep when it is printed.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |values: &BTreeSet<String>| {
            let quoted: Vec<String> = values.iter().map(|value| quote(value)).collect();
            quoted.join(", ")
        };
        match self {
            Expression::All => f.write_str("all()"),
            Expression::Global => f.write_str("global()"),
            Expression::Has(label) => write!(f, "has({label})"),
            Expression::Equals(label, value) => write!(f, "{label} == {}", quote(value)),
            Expression::Differs(label, value) => write!(f, "{label} != {}", quote(value)),
            Expression::In(label, values) => write!(f, "{label} in {{{}}}", set(values)),
            Expression::NotIn(label, values) => write!(f, "{label} not in {{{}}}", set(values)),
            Expression::Contains(label, part) => write!(f, "{label} contains {}", quote(part)),
            Expression::StartsWith(label, part) => write!(f, "{label} starts with {}", quote(part)),
            Expression::EndsWith(label, part) => write!(f, "{label} ends with {}", quote(part)),
            Expression::Not(inner) => write!(f, "!{}", Operand(inner, &[Level::And, Level::Or])),
            Expression::And(parts) => list(parts, " && ", &[Level::And, Level::Or], f),
            Expression::Or(parts) => list(parts, " || ", &[Level::Or], f),
        }
    }
}

/// What an expression is made of at its top.
#[derive(PartialEq, Eq)]
enum Level {
    And,
    Or,
    Single,
}

/// An expression as a part of another, in parentheses when its level is one of those.
struct Operand<'a>(&'a Expression, &'a [Level]);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.0 {
            Expression::And(_) => Level::And,
            Expression::Or(_) => Level::Or,
            _ => Level::Single,
        };
        match self.1.contains(&level) {
            true => write!(f, "({})", self.0),
            false => self.0.fmt(f),
        }
    }
}

fn list(
    parts: &[Expression],
    between: &str,
    enclosed: &[Level],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        write!(f, "{}", Operand(part, enclosed))?;
    }
    Ok(())
}

/// A string has no escapes in this language, so the quote that it does not contain is used.
fn quote(value: &str) -> String {
    if value.contains('"') {
        format!("'{value}'")
    } else {
        format!("\"{value}\"")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Symbol(&'static str),
    Text(String),
    Word(String),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Symbol(symbol) => write!(f, "{symbol:?}"),
            Token::Text(text) => write!(f, "string {text:?}"),
            Token::Word(word) => write!(f, "{word:?}"),
        }
    }
}

const SYMBOLS: [&str; 10] = ["==", "!=", "&&", "||", "!", "(", ")", "{", "}", ","];

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, SelectorError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut at = 1;
    while let Some(first) = rest.chars().next() {
        let taken = if first.is_whitespace() {
            first.len_utf8()
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            tokens.push((at, Token::Symbol(symbol)));
            symbol.len()
        } else if first == '"' || first == '\'' {
            let inside = &rest[1..];
            let Some(end) = inside.find(first) else {
                return Err(SelectorError {
                    at,
                    why: "the string does not end".to_owned(),
                });
            };
            tokens.push((at, Token::Text(inside[..end].to_owned())));
            end + 2
        } else {
            let end = rest.find(|c| !is_label_character(c)).unwrap_or(rest.len());
            if end == 0 {
                return Err(SelectorError {
                    at,
                    why: format!("unexpected character {first:?}"),
                });
            }
            tokens.push((at, Token::Word(rest[..end].to_owned())));
            end
        };
        at += rest[..taken].chars().count();
        rest = &rest[taken..];
    }
    Ok(tokens)
}

fn is_label_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')
}

struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    next: usize,
    end: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn fault(&self, why: String) -> SelectorError {
        let at = self.tokens.get(self.next).map_or(self.end, |(at, _)| *at);
        SelectorError { at, why }
    }

    fn wanted(&self, what: &str) -> SelectorError {
        let found = self
            .peek()
            .map_or("the end".to_owned(), ToString::to_string);
        self.fault(format!("expected {what}, found {found}"))
    }

    fn take(&mut self, symbol: &'static str) -> bool {
        let there = self.peek() == Some(&Token::Symbol(symbol));
        self.next += usize::from(there);
        there
    }

    fn take_word(&mut self, word: &str) -> bool {
        let there = matches!(self.peek(), Some(Token::Word(found)) if found == word);
        self.next += usize::from(there);
        there
    }

    fn demand(&mut self, symbol: &'static str) -> Result<(), SelectorError> {
        if self.take(symbol) {
            Ok(())
        } else {
            Err(self.wanted(&format!("{symbol:?}")))
        }
    }

    fn string(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            Some(Token::Text(text)) => {
                let text = text.clone();
                self.next += 1;
                Ok(text)
            }
            _ => Err(self.wanted("a quoted string")),
        }
    }

    fn word(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.next += 1;
                Ok(word)
            }
            _ => Err(self.wanted("a label")),
        }
    }

    fn disjunction(&mut self, depth: usize) -> Result<Expression, SelectorError> {
        let first = self.conjunction(depth)?;
        let mut parts = vec![first];
        while self.take("||") {
            parts.push(self.conjunction(depth)?);
        }
        Ok(single_or(parts, Expression::Or))
    }

    fn conjunction(&mut self, depth: usize) -> Result<Expression, SelectorError> {
        let first = self.operation(depth)?;
        let mut parts = vec![first];
        while self.take("&&") {
            parts.push(self.operation(depth)?);
        }
        Ok(single_or(parts, Expression::And))
    }

    fn operation(&mut self, depth: usize) -> Result<Expression, SelectorError> {
        if depth > DEPTH_MAX {
            return Err(self.fault(format!("nested deeper than {DEPTH_MAX}")));
        }
        if self.take("!") {
            return Ok(Expression::Not(Box::new(self.operation(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.disjunction(depth + 1)?;
            self.demand(")")?;
            return Ok(inner);
        }
        let word = self.word()?;
        if self.take("(") {
            let expression = match word.as_str() {
                "all" => Expression::All,
                "global" => Expression::Global,
                "has" => Expression::Has(self.word()?),
                _ => return Err(self.fault(format!("there is no function {word:?}"))),
            };
            self.demand(")")?;
            return Ok(expression);
        }
        self.comparison(word)
    }

    fn comparison(&mut self, label: String) -> Result<Expression, SelectorError> {
        if self.take("==") {
            Ok(Expression::Equals(label, self.string()?))
        } else if self.take("!=") {
            Ok(Expression::Differs(label, self.string()?))
        } else if self.take_word("in") {
            Ok(Expression::In(label, self.set()?))
        } else if self.take_words("not", "in")? {
            Ok(Expression::NotIn(label, self.set()?))
        } else if self.take_word("contains") {
            Ok(Expression::Contains(label, self.string()?))
        } else if self.take_words("starts", "with")? {
            Ok(Expression::StartsWith(label, self.string()?))
        } else if self.take_words("ends", "with")? {
            Ok(Expression::EndsWith(label, self.string()?))
        } else {
            Err(self.wanted("a comparison"))
        }
    }

    /// An operator of two words, which may stand together.
    fn take_words(&mut self, first: &str, second: &str) -> Result<bool, SelectorError> {
        if self.take_word(&format!("{first}{second}")) {
            return Ok(true);
        }
        if !self.take_word(first) {
            return Ok(false);
        }
        match self.take_word(second) {
            true => Ok(true),
            false => Err(self.wanted(&format!("{second:?}"))),
        }
    }

    fn set(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        self.demand("{")?;
        let mut values = BTreeSet::new();
        while !self.take("}") {
            values.insert(self.string()?);
            if !self.take(",") {
                self.demand("}")?;
                break;
            }
        }
        Ok(values)
    }
}

fn single_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            many(parts)
        }
    }
}

#[cfg(test)]
mod tests;
