/** An error that a client is told about. */
export class HttpError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Routes requests: `use` adds middleware for all of them, `get`, `post` and `delete` add handlers.
 * Both are functions of a context and of `next`, which calls what follows. A path such as
 * `/notes/:id` gives `context.params.id`.
 */
export class Router {
  #middleware = [];
  #routes = [];

  use(middleware) {
    this.#middleware.push(middleware);
    return this;
  }

  get(path, handler) {
    return this.#add("GET", path, handler);
  }

  post(path, handler) {
    return this.#add("POST", path, handler);
  }

  delete(path, handler) {
    return this.#add("DELETE", path, handler);
  }

  /** Handles one request. `context` has its `method` and its `path`. */
  handle(context) {
    const chain = [...this.#middleware, (context) => this.#dispatch(context)];
    const call = (index) => chain[index](context, () => call(index + 1));
    return call(0);
  }

  #add(method, path, handler) {
    this.#routes.push({ method, parts: path.split("/"), handler });
    return this;
  }

  #dispatch(context) {
    const found = this.#routes
      .map((route) => ({ ...route, params: match(route.parts, context.path.split("/")) }))
      .filter((route) => route.params);
    if (found.length === 0) throw new HttpError(404, `nothing is at ${context.path}`);
    const route = found.find((route) => route.method === context.method);
    if (!route) throw new HttpError(405, `${context.method} is not for ${context.path}`);
    context.params = route.params;
    return route.handler(context);
  }
}

function match(route, path) {
  if (route.length !== path.length) return undefined;
  const params = {};
  for (const [index, part] of route.entries()) {
    if (part.startsWith(":")) params[part.slice(1)] = decode(path[index]);
    else if (part !== path[index]) return undefined;
  }
  return params;
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new HttpError(400, `${part} is no part of a path`);
  }
}
