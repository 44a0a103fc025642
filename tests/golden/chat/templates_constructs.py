"""Templates for constructs that need care; see templates.py."""

from templates import add

add("marks in a macro", """
{% macro answer(m) %}{% generation %}{{ m.content }}</s>{% endgeneration %}{% endmacro %}{% for m in messages %}{% if m.role == 'assistant' %}{{ 'A: ' ~ answer(m) }}{% else %}{{ m.content }}{% endif %}{% endfor %}""")

add("marks with trimmed space", """
{% for m in messages %}
{{ m.role }}:
{%- if m.role == 'assistant' -%}
  {%- generation -%}
    {{ m.content }}
  {%- endgeneration -%}
{%- else -%}
{{ m.content }}
{%- endif -%}
{{ '\n' }}
{%- endfor %}""")

add("marks and scopes", """
{{ bos_token }}{% set x = 1 %}{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{% set x = 2 %}{{ x }}{{ m.content }}{% endgeneration %}{{ x }}{% endif %}{% endfor %}{{ x }}""")

add("loop controls", """
{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% continue %}{% endif %}[{{ m.role }}]{% if loop.index > 3 %}{{ 'more' }}{% break %}{% endif %}{% for c in m.content %}{% if c == ' ' %}{% break %}{% endif %}{{ c }}{% else %}nothing{% endfor %}{% endfor %}""")

add("loop variables", """
{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem.role if loop.previtem is defined }}{{ loop.nextitem.role if not loop.last }}{{ loop.cycle('a', 'b') }}{{ loop.changed(m.role) }}
{% else %}none{% endfor %}{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}{{ ',' if not loop.last }}{% endfor %}{% for m in messages | selectattr('role', 'equalto', 'assistant') %}{{ loop.index }}/{{ loop.length }}{% endfor %}{% for x in [] %}{% else %}empty{% endfor %}""")

add("recursive loop", """
{% for part in [{'n': 'a', 'kids': [{'n': 'b'}, {'n': 'c', 'kids': [{'n': 'd'}]}]}] recursive %}{{ loop.depth }}{{ part.n }}{% if part.kids %}({{ loop(part.kids) }}){% endif %}{% endfor %}{% for k, v in {'x': 1, 'y': 2}.items() %}{{ k }}{{ v }}{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}""")

add("scopes", """
{% set x = 'outer' %}{% for m in messages %}{{ x }}{% set x = m.role %}{{ x }};{% endfor %}{{ x }}{% if true %}{% set x = 'if' %}{% endif %}{{ x }}{% with y = x, z = 1 %}{{ y }}{{ z }}{% set x = 'with' %}{% endwith %}{{ x }}{{ y is defined }}{% macro f(a, b='d', c=a) %}{{ a }}{{ b }}{{ c }}{{ x }}{% endmacro %}{{ f('1') }}{% set x = 'late' %}{{ f('1', c='3') }}{{ f() }}""")

add("macros", """
{% macro turn(role, text='none') %}<{{ role }}>{{ text }}{{ kwargs | tojson }}{% endmacro %}{% macro all() %}{{ varargs | join(',') }}{{ kwargs }}{% endmacro %}{% macro wrap(tag) %}<{{ tag }}>{{ caller('in') }}</{{ tag }}>{% endmacro %}{% for m in messages %}{{ turn(m.role, m.content if m.content is string else 'parts', x=1) }}{% endfor %}{{ all(1, 'b', k=none) }}{% call(what) wrap('b') %}{{ what }}side{% endcall %}{{ turn.name }}{{ turn('a', *['b'], **{'c': 1}) }}{% filter upper %}shout {{ messages[0].role }}{% endfilter %}""")

add("white space", """
  {% if true %}
    kept
  {% endif %}
  {%+ if true %} plus {% endif +%}
a {%- if true -%} b {%- endif -%} c
  {# a comment #}
  {#- another -#}  d
{{ '  e  ' }}
{{- ' f ' -}}
  {% raw %}{{ raw }} {% if %}{% endraw %}
	{%- raw -%}  g  {%- endraw -%}
{% for i in range(2) %}
  {{ i }}

{% endfor %}
end

""")

add("lines of other systems", "{% for m in messages %}\r\n{{ m.role }}:\r\n{{ m.content }}\r\n{% endfor %}\r\nend\r\n")

add("print and comments", """
{% print messages[0].role, '-', 1 %}{# {{ nothing }} {% if %} #}{{ "{{" }}{{ '%}' }}{{ '}}' }}{% if messages: %}colon{% endif %}{{ {'a': {'b': {}}}['a'] }}{{ [1, 2][0] }}""")

add("tools in JSON", """
{% if tools %}{{ tools | tojson }}
{{ tools | tojson(indent=2) }}
{% for tool in tools %}{{ tool }}{% endfor %}{% endif %}
{% for m in messages %}{% for call in m.tool_calls or [] %}{{ call.function.arguments | tojson }}|{{ call.function.arguments }}|{{ call | tojson(indent=4) }}{% endfor %}{% endfor %}""")

add("messages in JSON", """
{{ messages | tojson }}{% for m in messages %}{% for k in m %}{{ k }},{% endfor %}{% endfor %}""")

add("arguments as text", """
{% for m in messages %}{% for call in m.tool_calls or [] %}{{ call.function.name ~ call.function.arguments }}{% if call.function.arguments is mapping %}{% for k, v in call.function.arguments | items %}{{ k }}={{ v }};{{ v | string }}{% endfor %}{% endif %}{% endfor %}{% endfor %}""")

add("missing things", """
{% for m in messages %}{{ m.name | upper }}{{ m.name }}{% for x in m.name %}x{% endfor %}{{ m.name | default('anonymous') }}{{ m.name or 'no' }}{{ (m.content or '') | length }}{{ m.tool_calls | length }}{{ ([] | first) or 'nobody' }}{{ m.get('name', 'none') }}{{ m['name'] is defined }}{% endfor %}{{ nothing }}{{ nothing is defined }}""")

add("missing field of what is missing", """
{% for m in messages %}{{ m.role }}{{ m.meta.name }}{% endfor %}""")

add("empty is not false", """
{% if messages[0].role == 'system' %}{% set sys = messages[0].content %}{% else %}{% set sys = false %}{% endif %}{% if sys != false %}<sys>{{ sys }}</sys>{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}""")

add("letters", """
{% for m in messages %}{% for letter in m.role %}{{ letter }}.{% endfor %}{{ m.role[0] | upper }}{{ m.role[1:] }}{{ m.role | reverse }} {% endfor %}""")

add("the date", """
{{ strftime_now('%Y-%m-%d|%d %B %Y|%b %-d|%A|%%|%j') }}{% if strftime_now is defined %} now{% endif %}{{ date_string | default('none') }}""")

add("reasoning", """
{% for m in messages %}{{ m.reasoning_content }}|{{ m.thinking }}|{{ m.reasoning }}|{{ m.content }}
{% endfor %}""")

add("parts", """
{% for m in messages %}<{{ m.role }}>{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% elif 'image' in p %}<image>{% endif %}{% endfor %}{% endif %}</{{ m.role }}>{% endfor %}""")

add("a filter that only a branch reaches", """
{% if messages | length > 100 %}{{ messages | unheard_of }}{% endif %}{{ messages | length }}""")

add("an unknown filter", """
{{ messages | length }}{{ messages | unheard_of }}""")

add("an unknown tag", """
{{ messages | length }}{% unheard_of %}""")

add("an unclosed block", """
{% for m in messages %}{{ m.role }}""")

add("special tokens", """
{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ unk_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}""")

add("names that are set before they are read", """
{% for m in messages %}{{ m.role }}{{ eos_token }}{% set bos_token = bos_token ~ '!' %}{{ bos_token }}{% endfor %}{% macro f() %}[{{ eos_token }}{{ x }}]{% endmacro %}{{ f() }}{% set eos_token = 'end' %}{{ f() }}{% if true %}{% set x = 1 %}{% endif %}{{ f() }}{% set pad %}{{ pad }}{{ bos_token }}{% endset %}{{ pad }}{% for i in range(3) %}{% if i %}{{ y }}{% endif %}{% set y = i %}{% else %}{% set z = 1 %}{% endfor %}{{ y }}{{ z }}{{ bos_token }}""")

add("defaults of a macro", """
{% set x = 'outside' %}{% macro f(a, x=x) %}[{{ a }},{{ x }}]{% endmacro %}{{ f(1) }}{{ f(1, 2) }}{% macro g(a=b, b=a) %}[{{ a }},{{ b }}]{% endmacro %}{{ g() }}{{ g(1) }}{{ g(b=2) }}{% macro h(a, b=a ~ '!') %}[{{ a }},{{ b }}]{% endmacro %}{{ h('x') }}{{ h() }}{{ h(none) }}""")

add("a block whose filter makes no text", """
{% filter length %}abc{% endfilter %}""")

add("a block through filters", """
{% filter upper | trim %}  {{ messages[0].role }} {% endfilter %}{% set n | length %}abc{% endset %}{{ n }}{% generation %}{{ varargs }}{{ kwargs }}{% endgeneration %}""")

add("an unknown filter in a block of a branch", """
{% if false %}{% for m in messages %}{{ m | unheard_of }}{% endfor %}{% endif %}""")
