"""Writes a tiny llama model with random weights: enough for a llama.cpp server to answer nonsense."""

import sys

import gguf
import numpy

WIDTH, HEADS, FEED_FORWARD, CONTEXT = 64, 2, 128, 2048
TEMPLATE = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"


def vocabulary():
    """The three specials, a token per byte, and one per letter, as sentencepiece writes them."""
    kind = gguf.TokenType
    tokens = [("<unk>", kind.UNKNOWN), ("<s>", kind.CONTROL), ("</s>", kind.CONTROL)]
    tokens += [(f"<0x{byte:02X}>", kind.BYTE) for byte in range(256)]
    tokens += [(letter, kind.NORMAL) for letter in "▁abcdefghijklmnopqrstuvwxyz"]
    return tokens


def write(path):
    random = numpy.random.default_rng(7)
    tokens = vocabulary()

    def weights(*shape):
        return (random.standard_normal(shape) * 0.1).astype(numpy.float32)

    model = gguf.GGUFWriter(path, "llama")
    model.add_name("tollgate-tiny")
    model.add_context_length(CONTEXT)
    model.add_embedding_length(WIDTH)
    model.add_block_count(1)
    model.add_feed_forward_length(FEED_FORWARD)
    model.add_head_count(HEADS)
    model.add_head_count_kv(HEADS)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_rope_dimension_count(WIDTH // HEADS)
    model.add_vocab_size(len(tokens))
    model.add_tokenizer_model("llama")
    model.add_token_list([text for text, _ in tokens])
    model.add_token_scores([0.0] * len(tokens))
    model.add_token_types([kind for _, kind in tokens])
    model.add_bos_token_id(1)
    model.add_eos_token_id(2)
    model.add_chat_template(TEMPLATE)

    model.add_tensor("token_embd.weight", weights(len(tokens), WIDTH))
    model.add_tensor("output_norm.weight", numpy.ones(WIDTH, dtype=numpy.float32))
    model.add_tensor("output.weight", weights(len(tokens), WIDTH))
    for norm in ("attn_norm", "ffn_norm"):
        model.add_tensor(f"blk.0.{norm}.weight", numpy.ones(WIDTH, dtype=numpy.float32))
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        model.add_tensor(f"blk.0.{part}.weight", weights(WIDTH, WIDTH))
    for part in ("ffn_gate", "ffn_up"):
        model.add_tensor(f"blk.0.{part}.weight", weights(FEED_FORWARD, WIDTH))
    model.add_tensor("blk.0.ffn_down.weight", weights(WIDTH, FEED_FORWARD))

    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()


if __name__ == "__main__":
    write(sys.argv[1])
