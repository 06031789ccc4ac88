"""YAML of strangers as plain values: no objects, no keys given twice, no references but to other keys."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from dreamdist3d.errors import UserError, clipped, one_line, shown
from dreamdist3d.files import check_plain

_LARGEST, _DEEPEST = 2**20, 16  # characters of a file and of a resolved text; references that lead to references
_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_.]*)\}")
_OPENING = "${"


class _Loader(yaml.SafeLoader):
    """Numbers such as 1e-3 are numbers, dates are text, and a key that stands twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((key for number, key in enumerate(keys) if key in keys[:number]), None):
            raise yaml.constructor.ConstructorError(None, None, f"{clipped(twice)} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(e[-+]?[0-9]+)?$|^[-+]?\.inf$|^\.nan$", re.I),
    list("-+0123456789."),
)


def parse_yaml(text: str) -> Any:
    """Plain values of a YAML text.

    Raises:
        ValueError: it is none, or too large or too deep to be a configuration; one line.
    """
    if len(text) > _LARGEST:
        raise ValueError(f"it has {len(text):,} characters, which no configuration needs")
    try:
        values = yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
        check_plain(values)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(one_line(error)) from None
    return values


def resolved(tree: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`tree` with every `${other.key}` in its texts replaced by what stands there.

    Nothing but keys of the same tree can be named: a configuration may come from a stranger, and what it resolves to
    is written into files that are passed on.

    Raises:
        UserError: a reference to anything else, one that leads nowhere or in a circle.
    """
    return {name: _resolved(value, str(name), tree, where, 0) for name, value in tree.items()}


def _resolved(value: Any, key: str, tree: Mapping[str, Any], where: str, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {name: _resolved(below, f"{key}.{name}", tree, where, depth) for name, below in value.items()}
    if isinstance(value, list):
        return [_resolved(below, key, tree, where, depth) for below in value]
    if not isinstance(value, str) or _OPENING not in value:
        return value
    if depth == _DEEPEST:
        raise UserError(f"{where}: {key}: the references from here lead in a circle: {shown(value)}.")
    if value.count(_OPENING) != len(_REFERENCE.findall(value)):
        raise UserError(
            f"{where}: {key}={shown(value)} is refused: a ${{...}} may name another key, such as ${{tag}}, and nothing "
            "else (no oc.env and other resolvers, no nesting)."
        )

    def target(name: str) -> Any:
        return _resolved(_found(tree, name, key, where), name, tree, where, depth + 1)

    if whole := _REFERENCE.fullmatch(value):
        return target(whole[1])
    text = _REFERENCE.sub(lambda match: str(target(match[1])), value)
    if len(text) > _LARGEST:
        raise UserError(f"{where}: {key} grows too large by its references.")
    return text


def _found(tree: Any, name: str, key: str, where: str) -> Any:
    for part in name.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            raise UserError(f"{where}: {key} refers to ${{{clipped(name)}}}, and there is no such key.")
        tree = tree[part]
    return tree
