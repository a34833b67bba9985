//! What a module exports, as far as its text tells.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use swc_core::common::sync::Lrc;
use swc_core::common::{FileName, SourceMap, Span, Spanned};
use swc_core::ecma::ast::{
    Decl, DefaultDecl, EsVersion, ExportSpecifier, Expr, Lit, Module, ModuleDecl, ModuleExportName,
    ModuleItem, Pat, Stmt, UnaryOp, VarDecl, VarDeclKind,
};
use swc_core::ecma::parser::{Parser, StringInput, Syntax, TsSyntax, lexer::Lexer};

/// An export that is no function.
#[derive(Deserialize, Serialize)]
pub struct PlainValue {
    pub name: String,
    /// As `typeof` has it.
    pub kind: Cow<'static, str>,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

/// The exports of a module that are certainly no functions, by how they are written: constants with
/// a literal, an object, an array or a template. The stack has to be large enough for the source.
pub fn plain_values(source: &str) -> Vec<PlainValue> {
    let sources: Lrc<SourceMap> = Lrc::default();
    let file = sources.new_source_file(FileName::Anon.into(), source.to_owned());
    let lexer = Lexer::new(
        Syntax::Typescript(TsSyntax { decorators: true, ..TsSyntax::default() }),
        EsVersion::EsNext,
        StringInput::from(&*file),
        None,
    );
    // Whoever loads the module tells what is wrong with it.
    let Ok(module) = Parser::new_from(lexer).parse_module() else { return Vec::new() };
    let found = Exports::of(&module).plain;
    found
        .into_iter()
        .map(|(name, kind, span)| {
            let place = sources.lookup_char_pos(span.lo);
            PlainValue { name, kind: kind.into(), line: place.line, column: place.col.0 + 1 }
        })
        .collect()
}

#[derive(Default)]
struct Exports {
    /// The module's own constants that are no functions.
    constants: HashMap<String, (&'static str, Span)>,
    plain: Vec<(String, &'static str, Span)>,
}

impl Exports {
    fn of(module: &Module) -> Self {
        let mut exports = Self::default();
        for item in &module.body {
            match item {
                ModuleItem::Stmt(Stmt::Decl(Decl::Var(variables))) => exports.declare(variables),
                ModuleItem::ModuleDecl(ModuleDecl::ExportDecl(export)) => {
                    if let Decl::Var(variables) = &export.decl {
                        exports.declare(variables);
                        for (name, kind, span) in constants(variables) {
                            exports.plain.push((name, kind, span));
                        }
                    }
                }
                _ => {}
            }
        }
        for item in &module.body {
            let ModuleItem::ModuleDecl(item) = item else { continue };
            match item {
                ModuleDecl::ExportDefaultExpr(export) => exports.default_export(&export.expr),
                ModuleDecl::ExportDefaultDecl(export) => {
                    if let DefaultDecl::TsInterfaceDecl(_) = export.decl {
                        exports.plain.push(("default".to_owned(), "undefined", export.span));
                    }
                }
                ModuleDecl::ExportNamed(export) if export.src.is_none() => {
                    for specifier in &export.specifiers {
                        exports.named(specifier);
                    }
                }
                _ => {}
            }
        }
        exports
    }

    fn declare(&mut self, variables: &VarDecl) {
        let found = constants(variables);
        self.constants.extend(found.into_iter().map(|(name, kind, span)| (name, (kind, span))));
    }

    fn default_export(&mut self, value: &Expr) {
        let found = match value {
            Expr::Ident(name) => self.constants.get(name.sym.as_str()).copied(),
            value => kind(value).map(|kind| (kind, value.span())),
        };
        self.plain.extend(found.map(|(kind, span)| ("default".to_owned(), kind, span)));
    }

    fn named(&mut self, specifier: &ExportSpecifier) {
        let ExportSpecifier::Named(named) = specifier else { return };
        let own = text(&named.orig);
        let name = named.exported.as_ref().map_or_else(|| own.clone(), text);
        if let Some((kind, span)) = self.constants.get(&own) {
            self.plain.push((name, kind, *span));
        }
    }
}

fn text(name: &ModuleExportName) -> String {
    match name {
        ModuleExportName::Ident(name) => name.sym.to_string(),
        ModuleExportName::Str(name) => name.value.to_string_lossy().into_owned(),
    }
}

/// Only constants: a variable may get its function later.
fn constants(variables: &VarDecl) -> Vec<(String, &'static str, Span)> {
    if variables.kind != VarDeclKind::Const {
        return Vec::new();
    }
    let constant = |declared: &swc_core::ecma::ast::VarDeclarator| {
        let Pat::Ident(name) = &declared.name else { return None };
        let kind = kind(declared.init.as_deref()?)?;
        Some((name.sym.to_string(), kind, declared.span))
    };
    variables.decls.iter().filter_map(constant).collect()
}

/// What `typeof` says of a value that is certainly no function.
fn kind(value: &Expr) -> Option<&'static str> {
    match value {
        Expr::Paren(inner) => kind(&inner.expr),
        Expr::TsAs(inner) => kind(&inner.expr),
        Expr::TsSatisfies(inner) => kind(&inner.expr),
        Expr::TsConstAssertion(inner) => kind(&inner.expr),
        Expr::TsNonNull(inner) => kind(&inner.expr),
        Expr::TsTypeAssertion(inner) => kind(&inner.expr),
        Expr::Object(_) | Expr::Array(_) => Some("object"),
        Expr::Tpl(_) => Some("string"),
        Expr::Lit(literal) => match literal {
            Lit::Str(_) => Some("string"),
            Lit::Bool(_) => Some("boolean"),
            Lit::Null(_) | Lit::Regex(_) => Some("object"),
            Lit::Num(_) => Some("number"),
            Lit::BigInt(_) => Some("bigint"),
            Lit::JSXText(_) => None,
        },
        Expr::Unary(unary) => match unary.op {
            UnaryOp::Bang | UnaryOp::Delete => Some("boolean"),
            UnaryOp::TypeOf => Some("string"),
            UnaryOp::Void => Some("undefined"),
            UnaryOp::Minus | UnaryOp::Plus | UnaryOp::Tilde => None,
        },
        Expr::Ident(name) if name.sym == "undefined" => Some("undefined"),
        _ => None,
    }
}
