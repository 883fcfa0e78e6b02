"""How the tests of this folder run the engine: on a processor, small, the same in every test."""

ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
ENGINE = {"enforce_eager": True, "max_model_len": 1024, "dtype": "float32", "max_num_seqs": 32}
