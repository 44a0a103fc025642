"""Templates of models that think and call tools; see templates.py."""

from templates import add

add("Qwen1.5", """
{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content']}}{% if (loop.last and add_generation_prompt) or not loop.last %}{{ '<|im_end|>' + '\n'}}{% endif %}{% endfor %}{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}{{ '<|im_start|>assistant\n' }}{% endif %}""")

add("Qwen2.5", """
{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] }}{%- else %}{{- 'You are a helper.' }}{%- endif %}
    {{- "\n\n# Tools\n<tools>" }}
    {%- for tool in tools %}{{- "\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\n</tools><|im_end|>\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}{{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}{%- else %}{{- '<|im_start|>system\nYou are a helper.<|im_end|>\n' }}{%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content %}{{- '\n' + message.content }}{%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\n<tool_call>\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}{{- tool_call.arguments | tojson }}{{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == "tool" %}
        {%- if (loop.index0 == 0) or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\n<tool_response>\n' }}{{- message.content }}{{- '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
""")

QWEN3 = """
{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\n\n' }}{%- endif %}
    {{- "# Tools\n<tools>" }}
    {%- for tool in tools %}{{- "\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\n</tools><|im_end|>\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\n') %}
            {%- endif %}
        {%- endif %}
        ANSWER
        <|im_end|>
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\n<tool_response>\n' }}{{- content }}{{- '\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
{%- endif %}"""

QWEN3_CALLS = """
        {%- for tool_call in message.tool_calls or [] %}
            {%- if (loop.first and content) or (not loop.first) %}{{- '\n' }}{%- endif %}
            {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '<tool_call>\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}
            {%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
            {{- '}\n</tool_call>' }}
        {%- endfor %}"""

add("Qwen3", QWEN3.replace("ANSWER\n        <|im_end|>", """{%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}{{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}{%- else %}{{- '<|im_start|>' + message.role + '\n' + content }}{%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\n' + content }}
        {%- endif %}""" + QWEN3_CALLS + """
        {{- '<|im_end|>\n' }}"""))

add("Qwen3 for training, with marks", QWEN3.replace("ANSWER\n        <|im_end|>", """{{- '<|im_start|>' + message.role + '\n' }}
        {%- generation %}
        {{- '<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}""" + QWEN3_CALLS + """
        {{- '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\n' }}"""))

add("Qwen3-Coder", """
{%- macro render_extra_keys(json_dict, handled_keys) -%}
    {%- if json_dict is mapping %}
        {%- for json_key in json_dict if json_key not in handled_keys %}
            {%- if json_dict[json_key] is mapping or (json_dict[json_key] is sequence and json_dict[json_key] is not string) %}
                {{- '\n<' ~ json_key ~ '>' ~ (json_dict[json_key] | tojson | safe) ~ '</' ~ json_key ~ '>' }}
            {%- else %}
                {{-'\n<' ~ json_key ~ '>' ~ (json_dict[json_key] | string) ~ '</' ~ json_key ~ '>' }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
{%- endmacro -%}
{%- if tools is iterable and tools | length > 0 %}
{{- '<|im_start|>system\n<tools>' }}
{%- for tool in tools %}
    {%- if tool.function is defined %}{%- set tool = tool.function %}{%- endif %}
    {{- "\n<function>\n<name>" ~ tool.name ~ "</name>" }}
    {%- if tool.description is defined %}{{- '\n<description>' ~ (tool.description | trim) ~ '</description>' }}{%- endif %}
    {%- if tool.parameters is defined and tool.parameters is mapping and tool.parameters.properties is defined and tool.parameters.properties is mapping %}
        {%- for param_name, param_fields in tool.parameters.properties|items %}
            {{- '\n<parameter>\n<name>' ~ param_name ~ '</name>' }}
            {%- if param_fields.type is defined %}{{- '\n<type>' ~ (param_fields.type | string) ~ '</type>' }}{%- endif %}
            {%- set handled_keys = ['name', 'type', 'description'] %}
            {{- render_extra_keys(param_fields, handled_keys) }}
            {{- '\n</parameter>' }}
        {%- endfor %}
    {%- endif %}
    {{- render_extra_keys(tool, ['type', 'name', 'description', 'parameters']) }}
    {{- '\n</function>' }}
{%- endfor %}
{{- "\n</tools><|im_end|>\n" }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == "assistant" and message.tool_calls is defined and message.tool_calls is iterable and message.tool_calls | length > 0 %}
        {{- '<|im_start|>' + message.role }}
        {%- if message.content is defined and message.content is string and message.content | trim | length > 0 %}{{- '\n' + message.content | trim + '\n' }}{%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\n<tool_call>\n<function=' + tool_call.name + '>\n' }}
            {%- if tool_call.arguments is defined %}
                {%- for args_name, args_value in tool_call.arguments|items %}
                    {{- '<parameter=' + args_name + '>\n' }}
                    {%- set args_value = args_value | tojson | safe if args_value is mapping or (args_value is sequence and args_value is not string) else args_value | string %}
                    {{- args_value }}{{- '\n</parameter>\n' }}
                {%- endfor %}
            {%- endif %}
            {{- '</function>\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' + (message.content if message.content is string else '') + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}""")

add("QwQ", """
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\n') if message.content is string else '' %}
        {{- '<|im_start|>assistant\n' + content + '<|im_end|>\n' }}
    {%- elif message.role in ['user', 'system'] %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n<think>\n' }}{%- endif %}""")

add("DeepSeek-R1", """
{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<|User|>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}{{'<|Assistant|><|calls|>' + tool['type'] + '<|sep|>' + tool['function']['name'] + '\n' + '```json' + '\n' + tool['function']['arguments'] + '\n' + '```' + '<|call end|>'}}{%- set ns.is_first = true -%}{%- endif %}{%- endfor %}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<|Assistant|>' + content + '<|end of sentence|>'}}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<|outputs|><|output|>' + message['content'] + '<|output end|>'}}{%- set ns.is_output_first = false %}{%- else %}{{'\n<|output|>' + message['content'] + '<|output end|>'}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<|outputs end|>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<|Assistant|><think>\n'}}{% endif %}""")

add("DeepSeek-V3 calls", """
{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}<|Assistant|>{% if m.tool_calls is defined and m.tool_calls %}{% for call in m.tool_calls %}{{ call.function.name + call.function.arguments }}{% endfor %}{% else %}{{ m.content }}{% endif %}<|end|>{% else %}<|{{ m.role | title }}|>{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|Assistant|>{% if thinking is defined and thinking %}<think>{% else %}</think>{% endif %}{% endif %}""")

add("SmolLM3", """
{%- if enable_thinking is not defined %}{%- set enable_thinking = true %}{%- endif %}
{%- set reasoning_mode = "/think" if enable_thinking else "/no_think" %}
{%- if messages[0].role == "system" %}
    {%- set system_message = messages[0].content %}
    {%- if "/no_think" in system_message %}{%- set reasoning_mode = "/no_think" %}{%- endif %}
    {%- set custom_instructions = system_message.replace("/no_think", "").replace("/think", "").rstrip() %}
{%- endif %}
<|im_start|>system
Reasoning Mode: {{ reasoning_mode }}

{% if custom_instructions %}{{ custom_instructions }}{% endif %}
{%- if xml_tools or tools %}
{{- "\n\n### Tools\n" }}
{%- set ns = namespace(xml_tool_string="") %}
{%- for tool in (xml_tools or tools)[:] %}{%- set ns.xml_tool_string = ns.xml_tool_string ~ (tool | string) ~ "\n" %}{%- endfor %}
{{- ns.xml_tool_string }}
{%- endif %}<|im_end|>
{% for message in messages %}
    {%- set content = message.content if message.content is string else "" %}
    {%- if message.role == "user" %}
        {{ "<|im_start|>" + message.role + "\n"  + content + "<|im_end|>\n" }}
    {%- elif message.role == "assistant" %}
        {% generation %}
        {%- if reasoning_mode == "/think" %}
            {{ "<|im_start|>assistant\n" + content.lstrip("\n") + "<|im_end|>\n" }}
        {%- else %}
            {{ "<|im_start|>assistant\n<think>\n\n</think>\n" + content.lstrip("\n") + "<|im_end|>\n" }}
        {%- endif %}
        {% endgeneration %}
    {%- elif message.role == "tool" %}
        {{ "<|im_start|>" + "user\n"  + content + "<|im_end|>\n" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {%- if reasoning_mode == "/think" %}{{ "<|im_start|>assistant\n" }}{%- else %}{{ "<|im_start|>assistant\n<think>\n\n</think>\n"  }}{%- endif %}
{%- endif %}""")

add("GLM-4", """
[gMASK]<sop>
{%- if tools %}
<|system|>
# Tools
{% for tool in tools %}
{{ tool | tojson(ensure_ascii=False) }}
{% endfor %}
{%- endif %}
{%- for m in messages %}
{%- if m.role == 'assistant' and m.tool_calls %}
<|assistant|>{% for call in m.tool_calls %}{{ call.function.name }}
{{ call.function.arguments if call.function.arguments is string else call.function.arguments | tojson(ensure_ascii=False) }}{% endfor %}
{%- else %}
<|{{ m.role if m.role != 'tool' else 'observation' }}|>
{{ m.content }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>{% endif %}""")

add("GLM-4.5", """
[gMASK]<sop>
{%- macro visible_text(content) -%}
    {%- if content is string -%}{{- content }}
    {%- elif content is iterable and content is not mapping -%}
        {%- for item in content -%}{%- if item is mapping and item.type == 'text' -%}{{- item.text }}{%- elif item is string -%}{{- item }}{%- endif -%}{%- endfor -%}
    {%- else -%}{{- content }}{%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(last_user_index=-1) %}
{%- for m in messages %}{%- if m.role == 'user' %}{% set ns.last_user_index = loop.index0 -%}{%- endif %}{%- endfor %}
{% for m in messages %}
{%- if m.role == 'user' -%}<|user|>
{{ visible_text(m.content) }}
{{- '/nothink' if (enable_thinking is defined and not enable_thinking and not visible_text(m.content).endswith("/nothink")) else '' -}}
{%- elif m.role == 'assistant' -%}
<|assistant|>
{%- set reasoning_content = '' %}
{%- set content = visible_text(m.content) %}
{%- if m.reasoning_content is string %}{%- set reasoning_content = m.reasoning_content %}
{%- elif '</think>' in content %}
    {%- set reasoning_content = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
    {%- set content = content.split('</think>')[-1].lstrip('\n') %}
{%- endif %}
{%- if loop.index0 > ns.last_user_index and reasoning_content -%}
{{ '\n<think>' + reasoning_content.strip() +  '</think>'}}
{%- else -%}
{{ '\n<think></think>' }}
{%- endif -%}
{%- if content.strip() -%}{{ '\n' + content.strip() }}{%- endif -%}
{% if m.tool_calls %}
{% for tc in m.tool_calls %}
{%- if tc.function %}{%- set tc = tc.function %}{%- endif %}
{{ '\n<tool_call>' + tc.name }}
{% set _args = tc.arguments %}
{% for k, v in _args.items() %}
<arg_key>{{ k }}</arg_key>
<arg_value>{{ v | tojson(ensure_ascii=False) if v is not string else v }}</arg_value>
{% endfor %}
</tool_call>{% endfor %}
{% endif %}
{%- elif m.role == 'tool' -%}
{%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|observation|>' }}{%- endif %}
{{- '\n<tool_response>\n' }}{{- m.content }}{{- '\n</tool_response>' }}
{%- elif m.role == 'system' -%}
<|system|>
{{ visible_text(m.content) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|assistant|>{{- '\n<think></think>' if (enable_thinking is defined and not enable_thinking) else '' -}}
{%- endif -%}""")

add("EXAONE 4", """
{%- if not skip_think is defined %}{%- set skip_think = true %}{%- endif %}
{%- set role_indicators = {'user': '[|user|]\n', 'assistant': '[|assistant|]\n', 'system': '[|system|]\n', 'tool': '[|tool|]\n'} %}
{%- set end_of_turn = '[|endofturn|]\n' %}
{%- for i in range(messages | length) %}
    {%- set msg = messages[i] %}
    {%- set role = msg.role %}
    {%- if role not in role_indicators %}{{- raise_exception('Unknown role: ' ~ role) }}{%- endif %}
    {%- if i == 0 %}
        {%- if role == 'system' %}
            {{- role_indicators['system'] }}{{- msg.content }}{{- end_of_turn }}
            {%- continue %}
        {%- endif %}
    {%- endif %}
    {%- if role == 'assistant' %}
        {{- role_indicators['assistant'] }}
        {%- if msg.content %}
            {%- if "</think>" in msg.content %}
                {%- set content = msg.content.split('</think>')[-1].strip() %}
                {%- set reasoning_content = msg.content.split('</think>')[0].strip() %}
                {%- if reasoning_content.startswith("<think>") %}{%- set reasoning_content = reasoning_content[9:].strip() %}{%- endif %}
            {%- else %}
                {%- set content = msg.content %}
            {%- endif %}
            {%- if (not skip_think and loop.last) and reasoning_content is defined %}{{- "<think>\n" }}{{- reasoning_content}}{{- "\n</think>\n\n" }}{%- else %}{{- "<think>\n\n</think>\n\n" }}{%- endif %}
            {{- content }}
        {%- endif %}
        {%- for call in msg.tool_calls or [] %}
            {%- if call.function is not defined %}{%- continue %}{%- endif %}
            {{- '<tool_call>' ~ call.function | tojson ~ '</tool_call>' }}
        {%- endfor %}
        {{- end_of_turn }}
    {%- else %}
        {{- role_indicators[role] }}{{- msg.content if msg.content is defined }}{{- end_of_turn }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- role_indicators['assistant'] }}
    {%- if enable_thinking is defined and enable_thinking is true %}{{- "<think>\n" }}{%- else %}{{- "<think>\n\n</think>\n\n" }}{%- endif %}
{%- endif %}""")

add("gpt-oss", """
{%- macro render_typescript_type(param_spec, required_params) -%}
    {%- if param_spec.type == "array" -%}
        {%- if param_spec['items'] -%}{{- render_typescript_type(param_spec['items'], required_params) + "[]" }}{%- else -%}{{- "any[]" }}{%- endif -%}
    {%- elif param_spec.type is defined and param_spec.type is iterable and param_spec.type is not string and param_spec.type is not mapping and param_spec.type[0] is defined -%}
        {{- param_spec.type | join(" | ") }}
    {%- elif param_spec.type == "string" -%}
        {%- if param_spec.enum -%}{{- '"' + param_spec.enum|join('" | "') + '"' -}}{%- else -%}{{- "string" }}{%- endif -%}
    {%- elif param_spec.type == "object" -%}
        {{- "{\n" }}{%- for name, spec in param_spec.properties.items() -%}{{- name }}{%- if name not in (param_spec.required or []) -%}{{- "?" }}{%- endif -%}{{- ": " }}{{ render_typescript_type(spec, param_spec.required or []) }}{%- if not loop.last -%}{{-", " }}{%- endif -%}{%- endfor -%}{{- "}" }}
    {%- else -%}{{- param_spec.type or "any" }}{%- endif -%}
{%- endmacro -%}
{%- if reasoning_effort is not defined %}{%- set reasoning_effort = "medium" %}{%- endif %}
{{- "<|start|>system<|message|>Reasoning: " + reasoning_effort + "<|end|>" }}
{%- if messages[0].role == "developer" or messages[0].role == "system" %}
    {%- set developer_message = messages[0].content %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set developer_message = "" %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if developer_message or tools %}
    {{- "<|start|>developer<|message|>" + developer_message }}
    {%- for tool in tools or [] %}{{- "\ntype " + tool.function.name + " = " + render_typescript_type(tool.function.parameters, []) }}{%- endfor %}
    {{- "<|end|>" }}
{%- endif %}
{%- set last_tool_call = namespace(name=none) %}
{%- for message in loop_messages -%}
    {%- if message.role == 'assistant' -%}
        {%- if "content" in message and "<|channel|>analysis" in message.content %}{{- raise_exception("Pass the reasoning in its own field.") }}{%- endif %}
        {%- if "tool_calls" in message %}
            {%- set future_final_message = namespace(found=false) %}
            {%- for future_message in loop_messages[loop.index:] %}{%- if future_message.role == 'assistant' and "tool_calls" not in future_message %}{%- set future_final_message.found = true %}{%- endif %}{%- endfor %}
            {%- set tool_call = message.tool_calls[0] %}
            {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
            {%- if message.content and message.thinking %}{{- raise_exception("Cannot pass both content and thinking in an assistant message with tool calls!") }}
            {%- elif message.content and not future_final_message.found %}{{- "<|start|>assistant<|channel|>analysis<|message|>" + message.content + "<|end|>" }}
            {%- elif message.thinking and not future_final_message.found %}{{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}{%- endif %}
            {{- "<|start|>assistant to=functions." + tool_call.name + "<|channel|>commentary " }}
            {{- (tool_call.content_type if tool_call.content_type is defined else "json") + "<|message|>" }}{{- tool_call.arguments|tojson }}{{- "<|call|>" }}
            {%- set last_tool_call.name = tool_call.name %}
        {%- elif loop.last and not add_generation_prompt %}
            {%- if "thinking" in message %}{{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}{%- endif %}
            {{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|return|>" }}
        {%- else %}
            {{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|end|>" }}
            {%- set last_tool_call.name = none %}
        {%- endif %}
    {%- elif message.role == 'tool' -%}
        {%- if last_tool_call.name is none %}{{- raise_exception("Message has tool role, but there was no previous assistant message with a tool call!") }}{%- endif %}
        {{- "<|start|>functions." + last_tool_call.name }}{{- " to=assistant<|channel|>commentary<|message|>" + message.content|tojson + "<|end|>" }}
    {%- elif message.role == 'user' -%}
        {{- "<|start|>user<|message|>" + message.content + "<|end|>" }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|start|>assistant{%- endif -%}""")

add("Apertus", """
{%- set ns = namespace(in_assistant=false, in_tool=false) -%}
{{ bos_token }}
{%- for message in messages -%}
    {%- if message.role == 'user' or message.role == 'system' -%}
        {%- if ns.in_assistant -%}{{ '<|assistant_end|>' }}{%- set ns.in_assistant = false -%}{%- endif -%}
        {{ '<|' ~ message.role ~ '_start|>' }}
        {%- if message.content is mapping and message.content.parts is defined -%}{{ message.content.parts | map(attribute='text') | join }}{%- else -%}{{ message.content }}{%- endif -%}
        {{ '<|' ~ message.role ~ '_end|>' }}
    {%- elif message.role == 'assistant' -%}
        {%- if not ns.in_assistant -%}{{ '<|assistant_start|>' }}{%- set ns.in_assistant = true -%}{%- endif -%}
        {%- if message.content is string -%}{{ message.content }}{%- endif -%}
        {%- if message.tool_calls -%}{{ '<|tools_prefix|>[' }}{%- for call in message.tool_calls -%}{{ '{"' ~ call.function.name ~ '": ' ~ call.function.arguments | tojson ~ '}' }}{%- if not loop.last -%}, {% endif -%}{%- endfor -%}{{ ']<|tools_suffix|>' }}{%- endif -%}
    {%- elif message.role == 'tool' -%}
        {{ '[' ~ message.content ~ ']' }}
    {%- else -%}
        {{ raise_exception('Invalid role: ' + message.role) }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {%- if ns.in_assistant -%}{{ '<|assistant_end|>' }}{%- endif -%}
    {{ '<|assistant_start|>' }}
{%- endif -%}""")

add("Granite 3.3", """
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set system_message = "Knowledge Cutoff Date: April 2024." %}
    {%- if tools and documents %}{%- set system_message = system_message + "\nTools and documents." %}
    {%- elif tools %}{%- set system_message = system_message + "\nTools." %}
    {%- elif documents %}{%- set system_message = system_message + "\nDocuments." %}
    {%- elif thinking %}{%- set system_message = system_message + "\nThink." %}{%- endif %}
    {%- set loop_messages = messages %}
{%- endif %}
{{- '<|start_of_role|>system<|end_of_role|>' + system_message + '<|end_of_text|>\n' }}
{%- if tools %}{{- '<|start_of_role|>available_tools<|end_of_role|>' }}{{- tools | tojson(indent=4) }}{{- '<|end_of_text|>\n' }}{%- endif %}
{%- if documents %}
    {%- for document in documents %}
        {{- '<|start_of_role|>document {"document_id": "' + (document['doc_id'] | string) + '"}<|end_of_role|>\n' }}{{- document['text'] }}{{- '<|end_of_text|>\n' }}
    {%- endfor %}
{%- endif %}
{%- for message in loop_messages %}
    {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] + '<|end_of_text|>\n' }}
    {%- if loop.last and add_generation_prompt %}
        {{- '<|start_of_role|>assistant' }}
        {%- if controls %}{{- ' ' + controls | tojson()}}{%- endif %}
        {{- '<|end_of_role|>' }}
    {%- endif %}
{%- endfor %}""")

add("Command R", """
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% elif false == true %}{% set loop_messages = messages %}{% set system_message = 'You are Command-R.' %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% if system_message != false %}{{ '<|START|><|SYSTEM|>' + system_message + '<|END|>' }}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% set content = message['content'] %}{% if message['role'] == 'user' %}{{ '<|START|><|USER|>' + content.strip() + '<|END|>' }}{% elif message['role'] == 'assistant' %}{{ '<|START|><|CHATBOT|>'  + content.strip() + '<|END|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|START|><|CHATBOT|>' }}{% endif %}""")

add("Command R with documents", """
{{ bos_token }}{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}
{%- if basic_type_map[json_spec.type] is defined %}{{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}{{- "List[" +  json_to_python_type(json_spec['items']) + "]"}}
{%- elif json_spec.type == "object" %}{%- if json_spec.additionalProperties is defined %}{{- "Dict[str, " + json_to_python_type(json_spec.additionalProperties) + ']'}}{%- else %}{{- "Dict" }}{%- endif %}
{%- elif json_spec.type is iterable %}{{- "Union[" }}{%- for t in json_spec.type %}{{- json_to_python_type({"type": t}) }}{%- if not loop.last %}{{- "," }}{%- endif %}{%- endfor %}{{- "]" }}
{%- else %}{{- "Any" }}{%- endif %}
{%- endmacro %}
{%- for tool in tools or [] %}
def {{ tool.function.name }}({% for p, f in tool.function.parameters.properties | items %}{{ p }}: {% if not p in tool.function.parameters.required %}Optional[{{ json_to_python_type(f) }}] = None{% else %}{{ json_to_python_type(f) }}{% endif %}{% if not loop.last %}, {% endif %}{% endfor %}):
    \"\"\"{{ tool.function.description }}\"\"\"
{% endfor %}
{% if documents %}<results>
{%- for doc in documents %}

Document: {{ loop.index0 }}
{% for key, value in doc.items() %}{{ key }}: {{ value }}
{% endfor %}
{%- endfor %}</results>{% endif %}
{%- for m in messages %}<|{{ m.role | upper }}|>{{ m.content }}{% if m.tool_calls %}Action: ```json
{{ m.tool_calls | map(attribute='function') | list | tojson(indent=4) }}```{% endif %}{% endfor %}
{%- if add_generation_prompt %}<|CHATBOT|>{% endif %}""")

add("Command A", """
{{ bos_token }}{% for m in messages %}<|START|><|{{ 'CHATBOT' if m.role == 'assistant' else m.role | upper }}|>{{ m.content }}<|END|>{% endfor %}<|START|><|CHATBOT|>""")

add("Command A with dict()", """
{% set names = dict(user='USER', assistant='CHATBOT', system='SYSTEM') %}{% for m in messages %}<|{{ names.get(m.role, m.role) }}|>{{ m.content }}{% endfor %}{{ names | length }}""")

add("Seed-OSS", """
{% set budgets = {0: 0, 512: 128, 1024: 256, 4096: 512} %}
{% set thinking_budget = thinking_budget | default(-1) %}
{% set ns = namespace(interval=none) %}
{% for k, v in budgets.items() %}{% if ns.interval is none and thinking_budget <= k %}{% set ns.interval = v %}{% endif %}{% endfor %}
{% if ns.interval is none %}{% set ns.interval = budgets[4096] %}{% endif %}
{% for m in messages %}
{{ bos_token }}{{ m.role }}
{% if m.reasoning_content is defined and m.reasoning_content is string and m.reasoning_content | trim | length > 0 %}
<think>{{ m.reasoning_content | trim }}</think>
{% endif %}
{{ m.content }}{{ eos_token }}
{% endfor %}
{{ ns.interval }}
{% if add_generation_prompt %}{{ bos_token }}assistant
{% endif %}""")

add("functionary", """
{%- macro get_param_type(param) -%}
{%- set convert = {"integer": "number", "float": "number", "array": "Array"} -%}
{%- if 'type' in param -%}{%- if param['type'] is iterable and param['type'] is not string %}{{ param['type'] | join(' | ') }}{%- else -%}{{ convert.get(param['type'], param['type']) }}{%- endif -%}{%- else -%}any{%- endif -%}
{%- endmacro -%}
{%- for tool in tools or [] -%}
// {{ tool['function']['description'] }}
type {{ tool.function.name }} = (_: {% for name, param in tool.function.parameters.properties.items() %}{{ name }}: {{ get_param_type(param) }},{% endfor %}) => any;
{% endfor -%}
{%- for m in messages -%}
<|{{ m.role }}|>
{%- if m.content is defined %}{{ m.content }}{% endif -%}
{%- for call in m.tool_calls or [] %}>>>{{ call.function.name }}
{{ call.function.arguments if call.function.arguments is string else '%s' | format(call.function.arguments | tojson) }}{% endfor -%}
{%- endfor -%}""")

add("Nemotron", """
{%- set ns = namespace(last_user=-1, thinking=enable_thinking if enable_thinking is defined else True) -%}
{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set ns.last_user = loop.index0 -%}{%- endif -%}{%- endfor -%}
{%- for m in messages -%}
{%- if m.role == 'assistant' -%}
{%- set content = m.content | default('', true) -%}
{%- if m.reasoning_content is defined and m.reasoning_content -%}
{%- set content = '<think>\n' ~ m.reasoning_content ~ '\n</think>\n' ~ content -%}
{%- elif '<think>' not in content and '</think>' not in content -%}
{%- set content = '<think></think>' ~ content -%}
{%- endif -%}
<|im_start|>assistant
{% if loop.index0 < ns.last_user and '</think>' in content %}<think></think>{{ content.split('</think>')[-1] | trim }}{% else %}{{ content | trim }}{% endif %}<|im_end|>
{% else -%}
<|im_start|>{{ m.role }}
{{ m.content | string }}<|im_end|>
{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{{ '<think>\n' if ns.thinking else '<think></think>' }}{%- endif -%}""")

add("MiniMax", """
{%- macro content(message) -%}{%- if message.content is string -%}{{ message.content }}{%- elif message.content is iterable -%}{%- for part in message.content -%}{%- if part.type == 'text' -%}{{ part.text }}{%- endif -%}{%- endfor -%}{%- elif message.content is none -%}{{ '' }}{%- else -%}{{ message.content }}{%- endif -%}{%- endmacro -%}
]~!b[{%- set ns = namespace(last_tool_call_name="", last_user=-1) %}
{%- for message in messages -%}
{%- if message.role == 'assistant' -%}
{{- ']~b]ai' ~ '\n' }}
{%- set reasoning = message.reasoning_content | default('') -%}
{%- if reasoning and loop.revindex0 == 0 -%}{{- '<think>' ~ '\n' ~ reasoning ~ '\n' ~ '</think>' ~ '\n\n' }}{%- endif -%}
{{- content(message) }}
{%- if message.tool_calls -%}
{%- for tool_call in message.tool_calls -%}
{%- set function = tool_call.function or tool_call -%}
{{- '<invoke name="' + function.name + '">' }}
{% for k, v in function.arguments.items() %}
{{- '<parameter name="' + k + '">' }}{{- v | tojson(ensure_ascii=False) if v is not string else v }}{{- '</parameter>' }}
{% endfor -%}
{{- '</invoke>' ~ '\n' }}
{%- endfor -%}
{%- set ns.last_tool_call_name = message.tool_calls[-1].function.name -%}
{%- endif -%}
{{- '[e~[' ~ '\n' }}
{%- elif message.role == 'tool' -%}
{%- if loop.first or (loop.previtem and loop.previtem.role != 'tool') -%}{{- ']~b]tool' }}{%- endif -%}
{{- '\n<response name="' ~ ns.last_tool_call_name ~ '">' ~ content(message) ~ '</response>' }}
{%- if loop.last or loop.nextitem.role != 'tool' -%}{{- '[e~[\n' -}}{%- endif -%}
{%- else -%}
{{- ']~b]' ~ message.role ~ '\n' ~ content(message) ~ '[e~[\n' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- ']~b]ai' ~ '\n' ~ '<think>' ~ '\n' }}{%- endif -%}""")

add("Hunyuan", """
{% set context = {'has_head': true} %}{% for message in messages %}{% if loop.index0 == 0 %}{% if message['role'] == 'user' %}{% set content = '<|startoftext|>' + message['content'] + '<|extra_0|>' %}{% elif message['role'] == 'system' %}{% set content = '<|startoftext|>' + message['content'] + '<|extra_4|>' %}{% endif %}{% elif message['role'] == 'user' %}{% set content = ('<|startoftext|>' if context.has_head == false or loop.previtem.role == 'assistant' else '') + message['content'] + '<|extra_0|>' %}{% elif message['role'] == 'assistant' %}{% set content = message['content'] + '<|eos|>' %}{% endif %}{{ content }}{% endfor %}""")

add("Idefics3", """
<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>
{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}""")

add("Yi with set blocks", """
{%- set ns = namespace(text='') -%}
{%- for m in messages -%}
{%- set turn -%}
<|{{ m.role }}|>{{ m.content }}
{%- endset -%}
{%- set ns.text = ns.text ~ turn ~ '\n' -%}
{%- endfor -%}
{%- set trimmed | trim | upper %}  head  {% endset -%}
{{ trimmed }}
{{ ns.text }}""")
