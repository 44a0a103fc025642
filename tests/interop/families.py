"""What families_make.py and families_load.py share: small models of every kind that init is held against.

Sizes are such that no row of a linear layer is shorter than a block of nf4 (64): there bitsandbytes on a CPU decodes wrongly.
"""

import dataclasses

SIZES = dict(
    hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=99,
    max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)
ENCODER = dict(SIZES, type_vocab_size=2)
SIDES = dict(
    d_model=64, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=128,
    decoder_ffn_dim=128, vocab_size=99, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    decoder_start_token_id=2, forced_eos_token_id=None,
)
T5 = dict(
    d_model=64, d_kv=16, d_ff=128, num_layers=2, num_decoder_layers=2, num_heads=4, vocab_size=99, pad_token_id=0,
    eos_token_id=1, decoder_start_token_id=0,
)
MOE = dict(
    moe_intermediate_size=64, num_experts=4, num_experts_per_tok=2, decoder_sparse_step=1, shared_expert_intermediate_size=64,
)
MLA = dict(
    moe_intermediate_size=64, n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=1, first_k_dense_replace=1, n_group=1,
    topk_group=1, kv_lora_rank=64, q_lora_rank=64, qk_rope_head_dim=16, qk_nope_head_dim=16, v_head_dim=16, num_key_value_heads=4,
)
TOWER = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, image_size=16, patch_size=4)
ROPE = dict(rope_type="default", rope_theta=10000.0)
SPLIT_ROPE = dict(full_attention=dict(ROPE), sliding_attention=dict(ROPE))


@dataclasses.dataclass(frozen=True)
class Row:
    """A model, what it is loaded with, and what differs from the common sizes."""

    label: str
    type: str
    auto: str = "AutoModelForCausalLM"
    sizes: dict = dataclasses.field(default_factory=lambda: SIZES)
    more: dict = dataclasses.field(default_factory=dict)
    # What is done to the names of the file, as other tools leave them.
    names: str = ""
    # Options of init beside the common ones.
    options: dict = dataclasses.field(default_factory=dict)


def row(label: str, type: str = "", auto: str = "CausalLM", sizes: dict = SIZES, names: str = "", options=None, **more) -> Row:
    head = f"AutoModelFor{auto}" if auto else "AutoModel"
    return Row(label, type or label, head, sizes, more, names, options or {})


def decoders() -> list[Row]:
    windows = ["sliding_attention", "full_attention"]
    plain = [
        *["apertus", "arcee", "bitnet", "cohere", "ernie4_5", "exaone4", "gemma", "gemma2", "granite", "helium", "llama"],
        *["hunyuan_v1_dense", "ministral", "nemotron", "olmo", "olmo2", "olmo3", "phi", "qwen2", "qwen3", "seed_oss"],
        *["smollm3", "stablelm", "starcoder2", "gpt_neox"],
    ]
    wide = ("helium", "gemma", "gemma2", "exaone4", "granite", "hunyuan_v1_dense", "ministral")
    return [
        *[row(label, **(dict(head_dim=16) if label in wide else {})) for label in plain],
        row("llama, biases, head of its own", "llama", attention_bias=True, mlp_bias=True, tie_word_embeddings=False),
        row("llama, tied", "llama", tie_word_embeddings=True),
        row("mistral", sliding_window=8),
        row("ministral3", head_dim=16),
        row("cohere2", layer_types=windows, sliding_window=8),
        row("gemma3_text", layer_types=windows, sliding_window=8, head_dim=16, rope_parameters=SPLIT_ROPE),
        row("gemma4_text", layer_types=windows, sliding_window=8, head_dim=16, vocab_size_per_layer_input=99,
            hidden_size_per_layer_input=64, global_head_dim=16, num_kv_shared_layers=0),
        row("glm4", head_dim=16),
        row("phi3", rope_parameters=ROPE | dict(partial_rotary_factor=1.0)),
        row("lfm2", layer_types=["conv", "full_attention"], block_ff_dim=128, block_auto_adjust_ff_dim=False),
        row("qwen3_5_text", head_dim=16, layer_types=["linear_attention", "full_attention"], linear_num_value_heads=4,
            linear_num_key_heads=4, linear_key_head_dim=16, linear_value_head_dim=16),
        row("bloom", sizes=dict(hidden_size=64, n_layer=2, n_head=4, vocab_size=99, pad_token_id=0, bos_token_id=1, eos_token_id=2)),
        row("opt", sizes=SIZES | dict(ffn_dim=128, word_embed_proj_dim=64)),
        row("falcon", new_decoder_architecture=False, multi_query=True, alibi=False, bias=True),
        row("mamba", sizes=SIZES | dict(state_size=8, expand=2, conv_kernel=4, time_step_rank=8, use_mambapy=False)),
        row("mamba2", sizes=SIZES | dict(state_size=8, expand=2, conv_kernel=4, num_heads=8, head_dim=16, n_groups=1, chunk_size=8)),
        row("falcon_h1", head_dim=16, mamba_d_ssm=64, mamba_n_heads=4, mamba_d_head=16, mamba_n_groups=1, mamba_d_state=8,
            mamba_d_conv=4, mamba_chunk_size=8),
        row("llama4_text", intermediate_size_mlp=128, num_local_experts=4, num_experts_per_tok=1, head_dim=16, no_rope_layers=[1, 0],
            layer_types=["chunked_attention", "full_attention"], attention_chunk_size=8, moe_layers=[1]),
        row("mixtral", num_local_experts=4, num_experts_per_tok=2),
        row("qwen2_moe", **MOE), row("qwen3_moe", head_dim=16, **MOE),
        row("deepseek_v2", sizes=SIZES | MLA), row("deepseek_v3", sizes=SIZES | MLA),
        row("gpt_oss", num_local_experts=4, num_experts_per_tok=2, head_dim=16, layer_types=windows, sliding_window=8,
            rope_parameters=ROPE),
        row("granitemoe", num_local_experts=4, num_experts_per_tok=2),
        row("olmoe", num_experts=4, num_experts_per_tok=2), row("phimoe", num_local_experts=4, num_experts_per_tok=2),
        row("glm4_moe", sizes=SIZES | MLA | dict(num_key_value_heads=2), head_dim=16),
        row("qwen3_next", head_dim=16, layer_types=["linear_attention", "full_attention"], linear_num_value_heads=4,
            linear_num_key_heads=4, linear_key_head_dim=16, linear_value_head_dim=16, **MOE),
        row("gptj", sizes=dict(n_embd=64, n_layer=2, n_head=4, n_inner=128, vocab_size=99, n_positions=64, rotary_dim=8,
                               bos_token_id=1, eos_token_id=2)),
        row("gpt_neo", sizes=SIZES | dict(num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]])),
    ]


def prefixes() -> list[Row]:
    return [
        *[row(f"llama, names {names}", "llama", tie_word_embeddings=True, names=names)
          for names in ("bare", "twice", "module.", "_orig_mod.", "language_model.")],
        row("qwen3, names bare", "qwen3", tie_word_embeddings=True, names="bare"),
        row("mistral, the model without a head", "mistral", auto="", sliding_window=None),
        row("bert, the model without a head, names with its prefix", "bert", "", ENCODER, names="prefix bert"),
    ]


def encoders() -> list[Row]:
    rows = []
    for label in ("bert", "camembert", "deberta", "deberta-v2", "electra", "ernie", "mpnet", "roberta", "roformer", "xlm-roberta"):
        extra = dict(relative_attention=True, pos_att_type=["c2p", "p2c"], position_buckets=8, max_relative_positions=16)
        more = extra if label.startswith("deberta") else dict(embedding_size=64)
        rows.append(row(f"{label}, classes", label, "SequenceClassification", ENCODER, **more))
        if label != "deberta-v2":
            rows.append(row(f"{label}, masked tokens", label, "MaskedLM", ENCODER, **more))
    distil = dict(dim=64, hidden_dim=128, n_layers=2, n_heads=4, vocab_size=99, max_position_embeddings=64, pad_token_id=0)
    modern = SIZES | dict(cls_token_id=1, sep_token_id=2, local_attention=8, global_attn_every_n_layers=2)
    for label, sizes in (("distilbert", distil), ("albert", ENCODER | dict(embedding_size=32)), ("modernbert", modern),
                         ("eurobert", SIZES)):
        rows.append(row(f"{label}, classes", label, "SequenceClassification", sizes))
        rows.append(row(f"{label}, masked tokens", label, "MaskedLM", sizes))
    return [
        *rows,
        row("bert, bare", "bert", "", ENCODER),
        row("bert, spans", "bert", "QuestionAnswering", ENCODER),
        row("xlm-roberta, classes of tokens", "xlm-roberta", "TokenClassification", ENCODER),
        row("nomic_bert", "nomic_bert", "", ENCODER),
        row("qwen3, classes", "qwen3", "SequenceClassification", num_labels=3),
    ]


def two_sided() -> list[Row]:
    return [
        *[row(label, auto="Seq2SeqLM", sizes=SIDES)
          for label in ("bart", "blenderbot", "m2m_100", "marian", "mbart", "pegasus")],
        row("led", auto="Seq2SeqLM", sizes=SIDES, attention_window=8, max_encoder_position_embeddings=64,
            max_decoder_position_embeddings=64),
        row("t5", auto="Seq2SeqLM", sizes=T5),
        row("flan-t5", "t5", "Seq2SeqLM", T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
        row("mt5", auto="Seq2SeqLM", sizes=T5, feed_forward_proj="gated-gelu"),
        row("umt5", auto="Seq2SeqLM", sizes=T5, feed_forward_proj="gated-gelu"),
    ]


def seeing() -> list[Row]:
    text = SIZES | dict(head_dim=16)
    qwen_tower = dict(depth=2, hidden_size=64, intermediate_size=128, num_heads=4, patch_size=4, spatial_merge_size=2,
                      temporal_patch_size=2, out_hidden_size=64, fullatt_block_indexes=[1], window_size=16, embed_dim=64)
    tokens = dict(image_token_id=90, image_token_index=90, video_token_id=91, vision_start_token_id=92, vision_end_token_id=93,
                  boi_token_index=94, eoi_token_index=95)
    rope = dict(rope_parameters=dict(rope_type="default", rope_theta=10000.0, mrope_section=[2, 3, 3]))
    both = dict(auto="ImageTextToText", sizes=tokens)
    gemma = text | dict(model_type="gemma3_text", layer_types=["sliding_attention", "full_attention"], sliding_window=8,
                        rope_parameters=SPLIT_ROPE)
    return [
        row("qwen2_vl", **both, text_config=SIZES | rope, vision_config=qwen_tower | dict(hidden_size=64)),
        row("qwen2_5_vl", **both, text_config=SIZES | rope, vision_config=qwen_tower),
        row("gemma3", **both, text_config=gemma, vision_config=TOWER | dict(model_type="siglip_vision_model"),
            mm_tokens_per_image=4),
        row("mistral3", **both, text_config=text | dict(model_type="mistral"),
            vision_config=TOWER | dict(model_type="pixtral", head_dim=16)),
        row("llava", **both, text_config=text | dict(model_type="llama"), vision_config=TOWER | dict(model_type="clip_vision_model")),
        row("paligemma", **both, text_config=text | dict(model_type="gemma"),
            vision_config=TOWER | dict(model_type="siglip_vision_model", projection_dim=64), projection_dim=64),
        row("qwen3_vl", auto="ImageTextToText", sizes=tokens, text_config=text | rope,
            vision_config=qwen_tower | dict(num_position_embeddings=16, deepstack_visual_indexes=[0])),
        row("smolvlm", auto="ImageTextToText", sizes=tokens, text_config=text | dict(model_type="llama"), vision_config=TOWER,
            scale_factor=2),
        row("vit", auto="ImageClassification", sizes=TOWER),
        row("deit", auto="", sizes=TOWER),
        row("dinov2", auto="ImageClassification", sizes=TOWER | dict(mlp_ratio=2, use_swiglu_ffn=False)),
        row("whisper", auto="SpeechSeq2Seq", sizes=SIDES | dict(
            num_mel_bins=16, max_source_positions=32, max_target_positions=32, suppress_tokens=None, begin_suppress_tokens=None)),
        row("qwen2_5_vl, its tower by name", "qwen2_5_vl", **both, text_config=SIZES | rope, vision_config=qwen_tower,
            options=dict(targets=["visual.*.attn.proj", "q_proj"])),
    ]


def asked() -> list[Row]:
    """By name, what is left out otherwise."""
    dense = dict(backbone="dense")
    return [
        row("t5, wo by name", "t5", "Seq2SeqLM", T5, options=dense | dict(targets=["wo", "q"])),
        row("mixtral, experts by name", "mixtral", num_local_experts=4, num_experts_per_tok=2,
            options=dense | dict(targets=["w1", "w2", "w3", "q_proj"])),
        row("qwen3_moe, experts by name", "qwen3_moe", head_dim=16, **MOE,
            options=dense | dict(targets=["gate_proj", "up_proj", "down_proj"])),
        row("llama, some layers by name", "llama", options=dict(targets=["1.mlp.up_proj", "v_proj"])),
        row("llama, dense", "llama", options=dense),
        row("bert, classes, dense", "bert", "SequenceClassification", ENCODER, options=dense),
        row("gemma3, dense", "gemma3", "ImageTextToText", next(r for r in seeing() if r.label == "gemma3").sizes,
            **next(r for r in seeing() if r.label == "gemma3").more, options=dense),
    ]


ROWS = [*decoders(), *prefixes(), *encoders(), *two_sided(), *seeing(), *asked()]
