"""A command has no key that it does not read: each is taken from its configuration somewhere."""

import ast
import functools
import importlib
import inspect
import textwrap

import pytest

from train.config.commands import COMMANDS
from train.config.sections import Section
from train.runs.folder import STAGES, find_continued

OF_ALL = {"output_dir"}  # `train.cli` makes the folder


def _function(member):
    """The function behind a member of a class, if it has a source."""
    for behind in ("fget", "func", "__func__", "__wrapped__"):
        member = getattr(member, behind, member)
    written = inspect.isfunction(member) and not member.__code__.co_filename.startswith("<")
    return member if written else None


def _nodes(function):
    return ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function))))


def _named(node, names):
    """What a piece of syntax names: functions, classes, constants."""
    if isinstance(node, ast.Name):
        return [names.get(node.id)]
    if isinstance(node, ast.ImportFrom):
        return [vars(importlib.import_module(node.module)).get(one.name) for one in node.names]
    return []


def _attributes_of_config(function):
    """Names that are taken of something called `config` in a function and in all it may call.

    Calls are followed by names within `train`: a class that is named may be made, and of its
    methods those may be called whose names stand anywhere in what is reached.
    """
    waiting, reached, classes, attributes, taken = [function], set(), set(), set(), set()
    while waiting:
        one = waiting.pop()
        reached.add(one)
        for node in _nodes(one):
            for found in _named(node, one.__globals__):
                if isinstance(found, tuple):  # of names, for `getattr`
                    taken |= {item for item in found if isinstance(item, str)}
                elif getattr(found, "__module__", "").startswith("train."):
                    if inspect.isclass(found) and not issubclass(found, Section):
                        classes |= set(found.__mro__)
                    elif (function := _function(found)) not in reached | {None}:
                        waiting.append(function)
            match node:
                case ast.Attribute(value=of, attr=name):
                    attributes.add(name)
                    if ast.unparse(of).split(".")[-1] in ("config", "_config"):
                        taken.add(name)
                case ast.Call(func=ast.Attribute(attr="need"), args=[ast.Constant(value=name)]):
                    taken.add(name)
        members = [
            item for c in classes if c.__module__.startswith("train.") for item in vars(c).items()
        ]
        called = [_function(m) for n, m in members if n in attributes or n.startswith("__")]
        waiting = [one for one in {*waiting, *called} - {None} if one not in reached]
    return taken


@functools.cache
def _keys_read(command):
    """Keys that a command reads itself, through properties of its configuration or in its parts."""
    described = COMMANDS[command]
    module, _, name = described.function.partition(":")
    taken = _attributes_of_config(getattr(importlib.import_module(module), name))
    if command in STAGES:
        taken |= _attributes_of_config(find_continued)
    for section in described.config.__mro__:
        for name in taken & set(vars(section)):
            if isinstance(read := vars(section)[name], property):
                taken |= {
                    node.attr for node in _nodes(read.fget) if isinstance(node, ast.Attribute)
                }
    return taken.union(*(_keys_read(part) for part in described.parts))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_reads_all_of_its_keys(command):
    assert set(COMMANDS[command].keys) - _keys_read(command) - OF_ALL == set()
