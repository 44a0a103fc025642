"""Expressions of Jinja2, one a row: what templates do with values."""

EXPRESSIONS = r"""
1 + 2 * 3 - 4 / 2
7 // 2, -7 // 2, 7 % 3, -7 % 3, 7.5 // 2, -7.5 % 2
2 ** 10, 2 ** -1, 2.0 ** 3, -2 ** 2
10 ** 20, 10 ** 16 + 1, 9007199254740993
1 / 3, 1e16, 1e15, 1.5e-5, 0.0001, 123456789.125, 1e100, -0.0
true + 1, true == 1, false == 0, 1 == 1.0, '1' == 1
'a' + 'b', 'a' ~ 1 ~ none ~ true ~ 2.0 ~ [1, 'x']
'a' * 3, [1] * 2
'a' + 1
{'a': 1} ~ '', {'a': 'it\'s'} ~ '', ['a"b\'c'] ~ ''
{0: 'a', 1: 'b'}[1], {0: 'a'}
{'a': none, 'b': true, 'c': 1.0} | tojson
(1, 'a', none) | string, (1,) | string, () | string
[1, 2, 3][-1], [1, 2, 3][5], 'abc'[1], 'abc'[-1], 'abc'[9]
[1, 2, 3][1:], [1, 2, 3][::-1], 'abcdef'[1:5:2], 'abc'[::-1], [1, 2, 3][-2:], [1, 2, 3][:10]
'h🙂i'[1], 'h🙂i' | length, 'h🙂i'[::-1], 'h🙂i'[2:]
missing, missing | length, missing | default('x'), missing | upper, missing | trim
missing.field
messages[0].meta
messages[0].meta.name
messages[0].meta is defined, messages[0].role is defined, messages[0]['nothing'] is none
missing + 'a'
missing ~ 'a', missing == missing, missing is sequence, missing is iterable, missing is mapping
'' or 'x', 0 or none, [] and 1, 'a' and 'b', not [], not 'a'
1 < 2 < 3, 1 < 3 < 2, 'a' < 'b', [1, 2] < [1, 3]
'a' < 1
1 in [1, 2], 'a' in 'abc', 'a' in {'a': 1}, 3 not in [1], none in [none]
1 in 'abc'
none in 'abc'
'x' in missing
missing in 'abc'
'a' in none
'' != false, '' == none, [] == false
'yes' if true else 'no', 'yes' if false, ('yes' if false) is undefined
none | string, true | string, 1.0 | string
none | length
none | list
none | join(',')
none | selectattr('a') | list
none | map('upper') | list
missing | selectattr('a') | list
messages | selectattr('role', 'equalto', 'user') | list | length
messages | selectattr('role', '==', 'user') | map(attribute='content') | join('|')
messages | rejectattr('role', 'in', ['user']) | map(attribute='role') | list
messages | selectattr('tool_calls', 'undefined') | list | length
messages | selectattr('tool_calls', 'defined') | list | length
messages | selectattr('role', 'nothing') | list
messages | map(attribute='role') | list
messages | map(attribute='nothing', default='x') | list
messages | map('upper') | list | length
messages | map('nothing') | list
'yes' if messages | selectattr('role', 'equalto', 'nobody') else 'no'
(messages | selectattr('role', 'equalto', 'nobody') | list) or 'none'
messages | selectattr('role') | length
messages | selectattr('role') | first | tojson
(messages | selectattr('role'))[0] is defined
[] | first, [] | last, [1, 2] | first, 'abc' | last, {'a': 1} | first
none | first
[3, 1, 2] | sort, ['b', 'A', 'c'] | sort, ['b', 'A'] | sort(case_sensitive=true), [1, 2] | sort(reverse=true)
[{'n': 2}, {'n': 1}] | sort(attribute='n') | map(attribute='n') | list
['a', 1] | sort
['a', 'A', 'b'] | unique | list, [1, 1.0, true] | unique | list
[1, 2, 3] | sum, [{'a': 1}, {'a': 2}] | sum(attribute='a'), [1, 2] | max, ['b', 'a'] | min, [] | max
[1, 2, 3] | reverse | list, 'abc' | reverse
[1] | reverse | length
[1, [2, 3]] | join('-'), 'abc' | join(','), [1, none] | join, [{'a': 1}] | join(',', attribute='a')
{'b': 1, 'a': 2} | dictsort, {'b': 1, 'a': 2} | dictsort(by='value'), {'b': 1, 'A': 2} | dictsort(reverse=true)
{'b': 1, 'a': 2} | items | list, {'b': 1} | list, {'b': 1}.items() | list, {'b': 1}.keys() | list, {'b': 2}.values() | list
{'b': 1}.items(), {'b': 1}.keys()
none | items | list
{'a': 1}.get('a'), {'a': 1}.get('b'), {'a': 1}.get('b', 'c'), {'a': 1}.b is defined
{'items': 1}.items is defined, {'items': 1}['items'], {'items': 1}.items is callable, {'keys': 2}.values is callable
{'a': 1}.update({'b': 2})
[1].append(2)
[1].append is defined, [1, 2, 2].count(2), [1, 2].index(2), (1, 2).index(1)
[1].index(5)
dict(a=1, b='x'), dict({'a': 1}, b=2), dict([('a', 1)]), dict()
dict(a=1) | tojson
range(3) | list, range(1, 4) | list, range(5, 0, -2) | list, range(3), range(3)[1], range(3) | length, range(1, 9, 3)
range(3, 1) | list | length
namespace(a=1).a, namespace(a=1).b is defined, namespace(a=1)['a'], namespace(a=1)
namespace(_a=1)
'  a '.strip() ~ '|', '\n\na'.lstrip('\n') ~ '|', 'a \n'.rstrip('\n') ~ '|', 'xxaxx'.strip('x'), 'abcab'.strip('ba')
'  a b  c '.split(), 'a,b,,c'.split(','), 'a,b,c'.split(',', 1), 'a b c'.rsplit(none, 1), 'a,b,c'.rsplit(',', 1), ' a  b '.split(None, 1)
'a</think>b'.split('</think>')[-1], 'ab'.split('x')[0]
'a'.split('')
'abc'.upper(), 'ABC'.lower(), 'aBC dEF'.title(), 'aBC'.capitalize(), 'they\'re'.title(), 'aB'.swapcase()
'abc' | upper, 'ABC' | lower, 'aBC-dEF (x' | title, 'aBC' | capitalize
'abc'.startswith('a'), 'abc'.startswith(('x', 'a')), 'abc'.endswith('c'), 'abc'.startswith('b', 1)
'abc'.startswith(none)
'abcabc'.find('c'), 'abc'.find('x'), 'abcabc'.rfind('c'), 'h🙂c'.find('c'), 'abcabc'.find('a', 1), 'abc'.index('b')
'abc'.index('x')
'aXbXc'.replace('X', '-'), 'aXbXc'.replace('X', '-', 1), 'abc' | replace('b', ''), 'abc' | replace('', '-'), 1 | replace('1', '2')
'aXbXc'.count('X'), 'a-b'.partition('-'), 'a-b-c'.rpartition('-'), 'ab'.partition('x')
'a\nb\r\nc'.splitlines(), 'a\n\nb\n'.splitlines(true)
','.join(['a', 'b']), ''.join('ab')
','.join([1])
'7'.zfill(3), '-7'.zfill(4), 'a'.ljust(3) ~ '|', 'a'.rjust(3, '-'), 'a'.center(4, '*'), 'ab'.center(5, '*')
'12'.isdigit(), 'a1'.isalnum(), 'a'.isalpha(), ' '.isspace(), ''.isdigit(), 'A'.isupper(), 'a'.islower(), '½'.isnumeric()
'prefix-x'.removeprefix('prefix-'), 'x.txt'.removesuffix('.txt')
'{} and {}'.format(1, 'a'), '{0}{1}{0}'.format('a', 'b'), '{a}'.format(a=none), '{:.2f}|{:>5}|{:<5}|{:^5}|{:05d}|{:,}'.format(1.005, 'a', 'b', 'c', 42, 1234567), '{{}}'.format()
'{!r}'.format('a'), '{:x} {:08.3f} {:+d} {:%}'.format(255, 3.14159, 5, 0.25)
'{}'.format()
'%s and %d' % ('a', 3), '%s' % 'x', '%.2f' % 2.5, '%5s|%-5s|%05d' % ('a', 'b', 42), '%(a)s' % {'a': 1}, '%%' % ()
'%s' % none, '%s' | format('a'), '%s-%s' | format(1, 2), '%(a)s' | format(a=1), '%d' % 3.9, '%x' % 255, '%r' % 'a'
'%s %s' % 'a'
'%d' % 'a'
'a' | center(5) ~ '|', ' a ' | trim ~ '|', 'xax' | trim('x'), 'a b c' | wordcount
'a\nb\n\nc' | indent, 'a\nb' | indent(2, true), 'a\n\nb' | indent(2, blank=true), 'a\nb' | indent('> ')
'5' | int, 'x' | int, 'x' | int(7), '3.9' | int, 3.9 | int, ' 12 ' | int, none | int, '1e3' | int, true | int, '99999999999999999999' | int
'5.5' | float, 'x' | float, 5 | float, none | float(1.5)
2.5 | round, 3.5 | round, 2.675 | round(2), 0.125 | round(2), 42 | round, 2.1 | round(method='ceil'), -2.5 | round, 1.15 | round(1), 1234.5 | round(0, 'floor')
-3 | abs, 3.5 | abs, -(-3), +true, -true
[1, 2, 3, 4, 5] | batch(2) | list, [1, 2, 3] | batch(2, 'x') | list, [1, 2, 3, 4, 5] | slice(2) | list, [1, 2, 3] | slice(2, 'x') | list
[{'a': 1, 'b': 2}, {'a': 1, 'b': 3}] | groupby('a') | map(attribute='list') | list | length
[{'a': 'x'}, {'a': 'y'}] | groupby('a') | map('first') | list
'<a & "b">' | e, '<a>' | escape ~ '<', ('<a>' | e) + '<b>', '<' + ('<a>' | safe), '<a>' | safe
('<a>' | safe) == '<a>', ('<a>' | safe) | length, {'a': '<b>'} | tojson | safe
1 is number, 1.0 is number, true is number, 'a' is number, 1 is integer, 1.0 is integer, true is integer, 1.0 is float
'a' is string, [] is sequence, {} is sequence, {} is mapping, 'a' is iterable, 1 is iterable, (1,) is sequence, range(2) is sequence
none is none, none is defined, false is false, 0 is false, true is true, true is boolean, 1 is boolean, missing is undefined
3 is odd, 4 is even, 9 is divisibleby 3, 9 is divisibleby(2), 2 is eq 2, 2 is ne(3), 3 is gt 2, 2 is in [1, 2], 'a' is sameas 'a'
'a' is lower, 'A' is upper, 'a' is not upper, namespace is callable, 'upper' is filter, 'odd' is test
none is even
1 is nothing
'a' is string and 'b' is string, not 'a' is string, 'a' is not string or true
1 if 'a' is string else 2, [1, 2] is sequence and [1, 2] is not string
{'a': [1, 2, {'b': 'é🙂'}], 'c': '<&>\'"\n\t'} | tojson, 'a/b' | tojson, 1e16 | tojson, 0.1 | tojson
{'a': [1, {'b': 2}], 'c': {}, 'd': []} | tojson(indent=2)
{'a': [1, {'b': 2}]} | tojson(indent=4), [1, 2] | tojson(indent=0), [1] | tojson(indent='--')
{'b': 1, 'a': 'é'} | tojson(sort_keys=true), {'b': 1, 'a': 'é🙂'} | tojson(ensure_ascii=true), {'a': [1, 2]} | tojson(separators=(',', ':'))
{1: 'a', true: 'b', none: 'c', 1.5: 'd'} | tojson
missing | tojson
namespace | tojson
(messages | selectattr('role')) | tojson
'\u00e9\x41\101\'\"\\\q\n' | length, '\u00e9\x41\101\'\"\\\q'
'a' 'b' "c"
"it's", 'say "x"', 'both \' and "' ~ '', ['both \' and "', "it's", 'tab\t', 'é', '\u200b', '\x7f'] | string
[1, 2,], (1, 2,), {'a': 1,}
messages.0.role, messages[0]['role'], messages[-1].role
messages[0].__class__, messages.__len__ is defined
messages[0].__class__.__name__
messages | length > 1, messages | length - 1, -1 | abs, 2 + 3 | abs, 'a' ~ 'b' | upper
'a' if messages else 'b' if true else 'c'
'x' | nothing
nothing('x')
'x'('y')
raise_exception('Only "user" roles,\n  please')
raise_exception()
1 // 0
1 % 0.0
[1, 2] + (3,)
{} + {}
[1, 2] < 3
{[1]: 2}
{'a': 1}[[1]] is defined
none.x is defined, none['x'] is defined, 1 .x is defined
none[0:1]
missing[0:1]
(1, 2) + (3,), [1] + [2], (1, 2)[1], (1, 2, 3)[:2]
'abc'.upper is callable, 'abc'['upper'](), messages[0]['get']('role')
'a' ~ (1, 2), 1 ~ 2, [none, true, 1.5] ~ ''
0x1F, 0b101, 0o17, 1_000, 1_0.5
'ß'.upper(), 'İ'.lower() | length, 'Σας'.casefold()
'abc' | first, 'abc' | list, {'a': 1, 'b': 2} | list, {'a': 1} | length
'x' | default('y'), '' | default('y'), '' | default('y', true), none | default('y'), none | d('y', true)
messages | last | attr('role') is defined, 'abc' | attr('upper') is callable
joiner(', ') is callable
bos_token, eos_token, pad_token is defined, add_generation_prompt, tools is none, documents
1 == 1 == 1, 1 != 2 != 1, (1 < 2) == true
10000000000000000000000 + 1, 10000000000000000000000 * 3, 10000000000000000000000 // 7, 10000000000000000000000 % 7, 10000000000000000000000 == 1e22
'a,b' .split(',') | map('upper') | join('+')
[[1, 'a'], [2, 'b']] | map('last') | list, [[1], [2, 3]] | map('length') | list
['1', 'x'] | map('int', default=5) | list, ['a'] | map('replace', 'a', 'b') | list
[1, 2, 3, 4] | select('odd') | list, [1, 0, none, 'a'] | select | list, [1, 2] | reject('equalto', 1) | list, ['a', 1] | select('string') | list
[{'a': {'b': 1}}] | map(attribute='a.b') | list, [[5, 6]] | map(attribute=1) | list, [{'a': [7]}] | map(attribute='a.0') | list
false | round, true | round, [{'a': none}, {}] | sort(attribute='b') | length, [{'a': 1, 'b': 2}, {'a': 1, 'b': 1}] | sort(attribute='a,b') | map(attribute='b') | list
'abc' % [1], 'a%s' % missing, 'abc' % {'a': 1}
(messages | map('length')) in {'a': 1}, {(1, 'a'): 2}[(1, 'a')]
-0.0 % 3.5, 3 % -0.5, -7.5 // 2, 4 // 0.1, (0.0 * -1) | abs, [-0.04] | map('round', 1) | list, (-0.4) | round, (-0.5) | round(0, 'ceil')
0 ** -1
2.5 ** 1e300
messages | length ** 2, (0 - 2) ** 3, 1 ** 100000000000000000000, (1 - 2) ** 100000000000000000001
123456789012345678901 / 3, 5 / 123456789012345678901, (1 - 123456789012345678901) / 7, 10000000000000000000000000 / 5000000000000000000
1234 | round(-2), 1250 | round(-2), 1350 | round(-2), 1250.5 | round(-2), -1250 | round(-2), 12 | round(-2), 1299 | round(-2, 'floor')
'%g %g %g %.3g %G %g' % (1.0, 0.0001, 1e-5, 1234.5, 1e20, 123456789), '%a' % 'é😀', '%05.1f' % (0.0 * -1)
'{:g} {:.3} {:.3} {:n} {:G}'.format(0.5, 3.0, 1234.5, 7, 1e-10)
'{:.3}'.format(7)
'ff' | int(0, 16), '0x1F' | int(0, 16), '0b11' | int(0, 0), 'zz' | int(5, 16), '0b1' | int(0, 16), '-12' | int(0, 8)
'ﬁne ßa ǆ 中a z̈b'.title(), 'ﬁne'.capitalize(), 'ﬁ ẞ ſ ς ı'.casefold(), 'ßx' | title, 'ßx' | capitalize
[[1], [2]] | unique(attribute='n') | list, [{'n': 1}, {}, {'n': 1}, {}] | unique(attribute='n') | list
[1] is filter
{} is test
'upper' is filter, 'odd' is test, 3 is filter, missing is filter, none is test
[1] in {'a': 1}.keys()
'a' in {'a': 1}.keys(), (1, 2) in {(1, 2): 3}.keys(), 5 in {'a': 5}.values()
('<' | escape | upper) ~ '', [('<' | escape | upper), ('<' | e | trim), ('<' | e | indent)]
dict(missing)
namespace(missing)
'a'.replace('a', 'b', 99999999999999999999)
{'__proto__': 1}.__proto__, {'constructor': 2}['constructor'], {}.constructor is defined, ''.constructor is defined, {'toString': 3} | tojson
10 ** 5000
10 ** 4299 > 0, (10 ** 4299) | string | length, ('9' * 4300) | int | string | length, ('9' * 4301) | int, ('f' * 5000) | int(0, 16) > 0, ('9' * 4301) | int(3, 9)
[10 ** 4300] | tojson
""".strip().split("\n")
