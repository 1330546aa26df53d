"""Text and tokens: corpora, tokenizers, prompts, and what is fetched once; nothing that computes with them."""
