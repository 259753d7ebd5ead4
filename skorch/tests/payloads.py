"""Pickles that call something, in all the ways that the format knows."""

from __future__ import annotations

import pickle
import struct
from typing import Any, NamedTuple

# Registered while the tests run, as programs may do with classes of their own.
EXTENSION = ('os', 'system', 0x42)


class Payload(NamedTuple):
    """Pickled content that would call ``name``, without the opcodes at its begin and end."""

    id: str
    name: str
    body: bytes

    @property
    def pickled(self) -> bytes:
        """As a pickle of its own."""
        return self.inside(b'')

    def inside(self, first: bytes) -> bytes:
        """As a pickle of a dict, which has other items first if these are given."""
        return b'\x80\x02}' + first + text('found') + self.body + b's.'


def text(value: str) -> bytes:
    """Return the opcode of a text that every unpickler knows."""
    content = value.encode()
    return b'X' + struct.pack('<I', len(content)) + content


def arguments(*values: Any) -> bytes:
    """Return the opcodes of a tuple of texts, numbers and pickled bytes."""
    return b'(' + b''.join(map(argument, values)) + b't'


def argument(value: Any) -> bytes:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bytes):
        return b'C' + bytes([len(value)]) + value
    return pickle.dumps(value, 2)[2:-1]


def named(module: str, name: str) -> bytes:
    return f'c{module}\n{name}\n'.encode()


def stack_named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b'\x93'


SYSTEM = named('os', 'system')
COMMAND = arguments('echo ran > ran')
CODE = "open('ran', 'w').write('ran')"
NESTED = b'\x80\x02cos\nsystem\n' + COMMAND + b'R.'

# What is called, with which arguments.
CALLS: list[tuple[str, str, tuple[Any, ...]]] = [
    ('os', 'system', ('echo ran > ran',)),
    ('posix', 'system', ('echo ran > ran',)),
    ('builtins', 'eval', (CODE,)),
    ('builtins', 'exec', (CODE,)),
    ('builtins', '__import__', ('antigravity',)),
    ('builtins', 'open', ('ran', 'w')),
    ('builtins', 'getattr', ('text', 'upper')),
    ('builtins', 'compile', (CODE, '', 'exec')),
    ('__builtin__', 'eval', (CODE,)),
    ('subprocess', 'Popen', (['touch', 'ran'],)),
    ('subprocess', 'check_output', (['touch', 'ran'],)),
    ('socket', 'socket', ()),
    ('importlib', 'import_module', ('antigravity',)),
    ('numpy.f2py.crackfortran', 'myeval', (CODE,)),
    ('torch.hub', 'load', ('nobody/nothing', 'model')),
    ('torch', 'load', ('params',)),
    ('torch.serialization', 'load', ('params',)),
    ('runpy', 'run_path', ('script.py',)),
    ('pickle', 'loads', (NESTED,)),
    ('_pickle', 'loads', (NESTED,)),
    ('codecs', 'decode', (b'text', 'zip')),
    ('_codecs', 'encode', ('text', 'rot13')),
    ('webbrowser', 'open', ('http://localhost:9/',)),
    ('shutil', 'rmtree', ('folder',)),
    ('ctypes', 'CDLL', ('libc.so.6',)),
    ('sys', 'exit', (3,)),
    ('functools', 'reduce', ()),
    ('operator', 'attrgetter', ('__class__',)),
    ('types', 'FunctionType', ()),
    # by way of attributes of packages that are trusted
    ('torch.serialization', 'os.system', ('echo ran > ran',)),
    ('torch.serialization', 'pickle.loads', (NESTED,)),
    ('torch.nn.modules.module', 'torch.load', ('params',)),
    ('torch._utils', 'sys.exit', (3,)),
    ('torch.utils.data.datapipes.iter.fileopener', 'FileOpenerIterDataPipe', (['script.py'],)),
    ('torch.utils.data', 'DataLoader', ([1, 2], 1, False, None, None, 1)),
    ('torch.fx.graph_module', 'reduce_graph_module', ({'_code': CODE}, '')),
    ('torch.jit', 'load', ('params',)),
    ('numpy', 'load', ('params',)),
    ('numpy', 'save', ('ran', 1)),
    ('numpy', 'memmap', ('ran', 'uint8', 'w+', 0, 9)),
    ('skorch.utils', 'np.load', ('params',)),
    ('skorch.cli', 'parse_args', ({},)),
    ('skorch._files', 'os.system', ('echo ran > ran',)),
    ('skorch._pickling', 'open_net', ()),
    ('sklearn.datasets', 'fetch_openml', ('iris',)),
    ('joblib', 'load', ('params',)),
    ('no_such_module_at_all', 'name', ()),
]

ADDRESS = named('_codecs', 'encode') + arguments('AAAAAAAA', 'latin1') + b'R'

# How it is called, all of them the same command but for the last ones.
OPCODES: list[tuple[str, str, bytes]] = [
    ('STACK_GLOBAL', 'os.system', stack_named('os', 'system') + COMMAND + b'R'),
    ('dotted', 'os.system', stack_named('torch.serialization', 'os.system') + COMMAND + b'R'),
    ('INST', 'os.system', b'(' + text('echo ran > ran') + b'ios\nsystem\n'),
    ('OBJ', 'os.system', b'(' + SYSTEM + text('echo ran > ran') + b'o'),
    ('NEWOBJ', 'Popen', named('subprocess', 'Popen') + arguments(['touch', 'ran']) + b'\x81'),
    ('NEWOBJ_EX', 'Popen', stack_named('subprocess', 'Popen') + arguments('true') + b'}\x92'),
    ('EXT1', 'os.system', bytes([0x82, EXTENSION[2]]) + COMMAND + b'R'),
    ('EXT2', 'os.system', b'\x83' + struct.pack('<H', EXTENSION[2]) + COMMAND + b'R'),
    ('EXT4', 'os.system', b'\x84' + struct.pack('<i', EXTENSION[2]) + COMMAND + b'R'),
    ('PERSID', 'system', b'Pcos\\nsystem\n' + COMMAND + b'R'),
    ('BINPERSID', 'system', arguments('os', 'system') + b'Q' + COMMAND + b'R'),
    (
        'memo',
        'os.system',
        text('system') + b'\x94' + b'0' + text('os') + b'\x940h\x01h\x00\x93' + COMMAND + b'R',
    ),
    ('BINPUT', 'os.system', SYSTEM + b'q\x05' + b'0' + b'h\x05' + COMMAND + b'R'),
    ('in-key', 'os.system', b'}' + SYSTEM + COMMAND + b'R' + b'Ns'),
    (
        'BUILD',
        'eval',
        named('torch.nn', 'ReLU') + b')\x81}' + text('forward') + named('builtins', 'eval') + b'sb',
    ),
    (
        'setstate',
        'runpy',
        named('collections', 'OrderedDict')
        + b')R}'
        + text('__setstate__')
        + named('runpy', 'run_path')
        + b'sb'
        + arguments('script.py')
        + b'b',
    ),
    (
        'class-state',
        'History',
        named('skorch.history', 'History')
        + b'N}'
        + text('new_epoch')
        + named('torch.nn', 'ReLU')
        + b's\x86b',
    ),
    (
        'address',
        'ndarray',
        named('numpy', 'ndarray') + b'K\x01\x85' + text('O') + ADDRESS + b'\x87R',
    ),
    (
        'field',
        'dtype',
        named('numpy', 'dtype')
        + arguments('V8', False, True)
        + b'R'
        + b'(K\x03'
        + text('|')
        + b'N('
        + text('a')
        + b't}'
        + text('a')
        + b'('
        + named('numpy', 'dtype')
        + arguments('f8', False, True)
        + b'RJ\x00\x00\x00\x01tsK\x08K\x01'
        + b'K\x00tb',
    ),
]

PAYLOADS = [
    *(
        Payload(f'{module}.{name}', name, named(module, name) + arguments(*args) + b'R')
        for module, name, args in CALLS
    ),
    *(Payload(*row) for row in OPCODES),
]
