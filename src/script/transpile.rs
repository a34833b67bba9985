//! TypeScript to JavaScript, one module at a time, without type information.

use std::fmt;

use swc_core::common::comments::SingleThreadedComments;
use swc_core::common::source_map::SourceMapGenConfig;
use swc_core::common::sync::Lrc;
use swc_core::common::{FileName, GLOBALS, Globals, Mark, SourceMap, Span, Spanned};
use swc_core::ecma::ast::{
    Decl, EsVersion, Expr, Module, ModuleDecl, ModuleItem, Pat, Program, Stmt, TsEntityName,
    TsModuleRef, TsNamespaceBody, TsType,
};
use swc_core::ecma::codegen::text_writer::JsWriter;
use swc_core::ecma::codegen::{Config, Emitter};
use swc_core::ecma::parser::{Parser, StringInput, Syntax, TsSyntax, lexer::Lexer};
use swc_core::ecma::transforms::base::fixer::fixer;
use swc_core::ecma::transforms::base::helpers::{HELPERS, Helpers, inject_helpers};
use swc_core::ecma::transforms::base::hygiene::hygiene;
use swc_core::ecma::transforms::base::resolver;
use swc_core::ecma::transforms::proposal::decorator_2023_11::decorator_2023_11;
use swc_core::ecma::transforms::typescript::typescript;
use swc_core::ecma::visit::{Visit, VisitWith};

/// A module that V8 can compile, and the way back from it to its source.
pub struct Script {
    pub code: String,
    /// A source map, version 3, as JSON.
    pub source_map: Vec<u8>,
}

/// A module that is not TypeScript.
#[derive(Debug)]
pub struct SyntaxError {
    pub message: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

/// Removes types and lowers enums, namespaces, parameter properties and decorators.
///
/// `specifier` becomes the source's name in the source map.
pub fn transpile(specifier: &str, source: String) -> Result<Script, SyntaxError> {
    let sources: Lrc<SourceMap> = Lrc::default();
    let file = sources.new_source_file(FileName::Custom(specifier.into()).into(), source);
    let comments = SingleThreadedComments::default();
    let at = |span: Span, message: String| {
        let place = sources.lookup_char_pos(span.lo);
        SyntaxError { message, line: place.line, column: place.col.0 + 1 }
    };

    let mut parser = Parser::new_from(Lexer::new(
        Syntax::Typescript(TsSyntax { decorators: true, ..TsSyntax::default() }),
        EsVersion::EsNext,
        StringInput::from(&*file),
        Some(&comments),
    ));
    let parsed = parser.parse_module();
    // The parser goes on after an error that it can recover from; the first one is what helps.
    if let Some(error) = parser.take_errors().into_iter().next() {
        return Err(at(error.span(), error.kind().msg().into_owned()));
    }
    let module = parsed.map_err(|error| at(error.span(), error.kind().msg().into_owned()))?;
    if let Some(span) = too_deep(&module) {
        return Err(at(span, format!("nested too deeply, expected at most {MAX_LEVELS} levels")));
    }
    if let Some((span, message)) = not_a_module(&module) {
        return Err(at(span, message.to_owned()));
    }

    GLOBALS.set(&Globals::new(), || {
        HELPERS.set(&Helpers::new(false), || {
            let unresolved = Mark::new();
            let top_level = Mark::new();
            let options = typescript::Config {
                native_class_properties: true,
                no_empty_export: true,
                import_export_assign_config: typescript::TsImportExportAssignConfig::EsNext,
                ..typescript::Config::default()
            };
            let program = Program::Module(module)
                .apply(resolver(unresolved, top_level, true))
                .apply(typescript::typescript(options, unresolved, top_level))
                .apply(decorator_2023_11())
                .apply(inject_helpers(unresolved))
                .apply(hygiene())
                .apply(fixer(Some(&comments)));
            Ok(emit(&sources, &program))
        })
    })
}

/// How deep expressions, statements and types may be nested. What comes after the parser needs stack
/// for each level, and time that grows with the square of their number.
const MAX_LEVELS: usize = 2_500;

/// The first place that is nested too deeply.
fn too_deep(module: &Module) -> Option<Span> {
    let mut depth = Depth::default();
    module.visit_with(&mut depth);
    depth.exceeded
}

/// Counts levels. Looks at nothing below a level that is too deep.
#[derive(Default)]
struct Depth {
    levels: usize,
    exceeded: Option<Span>,
}

impl Depth {
    fn below<N: Spanned + VisitWith<Self>>(&mut self, node: &N) {
        if self.exceeded.is_some() {
            return;
        }
        if self.levels == MAX_LEVELS {
            self.exceeded = Some(node.span());
            return;
        }
        self.levels += 1;
        node.visit_children_with(self);
        self.levels -= 1;
    }
}

/// Every way in which a tree becomes deep leads through one of these.
impl Visit for Depth {
    fn visit_decl(&mut self, node: &Decl) {
        self.below(node);
    }

    fn visit_expr(&mut self, node: &Expr) {
        self.below(node);
    }

    fn visit_pat(&mut self, node: &Pat) {
        self.below(node);
    }

    fn visit_stmt(&mut self, node: &Stmt) {
        self.below(node);
    }

    fn visit_ts_entity_name(&mut self, node: &TsEntityName) {
        self.below(node);
    }

    fn visit_ts_namespace_body(&mut self, node: &TsNamespaceBody) {
        self.below(node);
    }

    fn visit_ts_type(&mut self, node: &TsType) {
        self.below(node);
    }
}

/// What TypeScript has for CommonJS modules, and the transforms would leave out without a word.
fn not_a_module(module: &Module) -> Option<(Span, &'static str)> {
    module.body.iter().find_map(|item| match item {
        ModuleItem::ModuleDecl(ModuleDecl::TsExportAssignment(item)) => Some((
            item.span,
            "`export =` is for CommonJS modules, write `export default` or `export const pipeline =`",
        )),
        ModuleItem::ModuleDecl(ModuleDecl::TsImportEquals(item))
            if !item.is_type_only
                && matches!(item.module_ref, TsModuleRef::TsExternalModuleRef(_)) =>
        {
            Some((
                item.span,
                "`import … = require(…)` is for CommonJS modules, write `import … from …`",
            ))
        }
        ModuleItem::ModuleDecl(ModuleDecl::TsNamespaceExport(item)) => {
            Some((item.span, "`export as namespace` is for declaration files, leave it out"))
        }
        _ => None,
    })
}

fn emit(sources: &Lrc<SourceMap>, program: &Program) -> Script {
    let mut code = Vec::new();
    let mut mappings = Vec::new();
    let mut emitter = Emitter {
        cfg: Config::default().with_target(EsVersion::EsNext),
        cm: sources.clone(),
        comments: None,
        wr: JsWriter::new(sources.clone(), "\n", &mut code, Some(&mut mappings)),
    };
    emitter.emit_program(program).expect("a vector takes all that is written to it");

    let mut source_map = Vec::new();
    sources
        .build_source_map(&mappings, None, Names)
        .to_writer(&mut source_map)
        .expect("a vector takes all that is written to it");
    Script { code: String::from_utf8(code).expect("the emitter writes whole strings"), source_map }
}

/// Source maps name their source by its specifier, and do not carry its text.
struct Names;

impl SourceMapGenConfig for Names {
    fn file_name_to_source(&self, file: &FileName) -> String {
        file.to_string()
    }

    fn inline_sources_content(&self, _: &FileName) -> bool {
        false
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at line {}, column {}", self.message, self.line, self.column)
    }
}
