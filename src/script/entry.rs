//! What the runtime's own scripts hand over when a run starts.

use deno_core::error::CoreError;
use deno_core::{JsRuntime, v8};
use deno_error::JsErrorBox;

/// The functions of `js/` that the host calls.
pub struct Entry {
    /// Calls a pipeline.
    pub call: v8::Global<v8::Function>,
    /// Returns the errors behind a `SuppressedError`.
    pub disposal: v8::Global<v8::Function>,
    /// Returns an error for each interval that still goes on.
    pub intervals_left: v8::Global<v8::Function>,
    /// Returns an error at the place of a timer for which the run waits long, or nothing.
    pub long_wait: v8::Global<v8::Function>,
    /// Says that the pipeline has settled.
    pub pipeline_settled: v8::Global<v8::Function>,
    /// Returns an error for each failure that the pipeline has not looked at, and whether there is a
    /// result.
    pub unread_failures: v8::Global<v8::Function>,
}

impl Entry {
    /// Takes the engine's own names off the global object.
    pub fn start(js: &mut JsRuntime) -> Result<Self, CoreError> {
        let functions = js.execute_script("ext:ci/start", "__ciStart()")?;
        deno_core::scope!(scope, js);
        let functions = v8::Local::<v8::Object>::try_from(v8::Local::new(scope, functions))
            .map_err(|error| JsErrorBox::type_error(error.to_string()))?;
        let function = |name: &'static str| {
            let key = v8::String::new(scope, name);
            let value = key.and_then(|key| functions.get(scope, key.into()));
            let function = value.and_then(|value| v8::Local::<v8::Function>::try_from(value).ok());
            let function = function.map(|function| v8::Global::new(scope, function));
            function.ok_or_else(|| JsErrorBox::type_error(format!("`{name}` is no function")))
        };
        Ok(Self {
            call: function("call")?,
            disposal: function("disposal")?,
            intervals_left: function("intervalsLeft")?,
            long_wait: function("longWait")?,
            pipeline_settled: function("pipelineSettled")?,
            unread_failures: function("unreadFailures")?,
        })
    }
}

/// What a function returns; `None` when it throws.
pub fn called<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    function: &v8::Global<v8::Function>,
    args: &[v8::Local<'s, v8::Value>],
) -> Option<v8::Local<'s, v8::Value>> {
    let function = v8::Local::new(scope, function);
    let this = v8::undefined(scope);
    function.call(scope, this.into(), args)
}

/// The elements of the array that a function returns; `None` when it throws.
pub fn list<'s>(
    scope: &mut v8::PinScope<'s, '_>,
    function: &v8::Global<v8::Function>,
    args: &[v8::Local<'s, v8::Value>],
) -> Option<Vec<v8::Local<'s, v8::Value>>> {
    let array = v8::Local::<v8::Array>::try_from(called(scope, function, args)?).ok()?;
    Some((0..array.length()).filter_map(|index| array.get_index(scope, index)).collect())
}
