"""Caffe's message schema as data: names, numbers, types and defaults.

A field is written as `name type number = default`; `*` marks repeated, `+` repeated and packed.
Source: src/caffe/proto/caffe.proto (BVLC 9b89154); the fields raw_* of BlobProto are NVCaffe's.
"""

from __future__ import annotations

__all__ = ["ENUMS", "MESSAGES"]

ENUMS: dict[str, str] = {
    "AnnotatedDatum.AnnotationType": "BBOX 0",
    "FillerParameter.VarianceNorm": "FAN_IN 0, FAN_OUT 1, AVERAGE 2",
    "Phase": "TRAIN 0, TEST 1",
    "ParamSpec.DimCheckMode": "STRICT 0, PERMISSIVE 1",
    "LossParameter.NormalizationMode": "FULL 0, VALID 1, BATCH_SIZE 2, NONE 3",
    "ConvolutionParameter.Engine": "DEFAULT 0, CAFFE 1, CUDNN 2",
    "DataParameter.DB": "LEVELDB 0, LMDB 1",
    "EltwiseParameter.EltwiseOp": "PROD 0, SUM 1, MAX 2",
    "HingeLossParameter.Norm": "L1 1, L2 2",
    "LRNParameter.NormRegion": "ACROSS_CHANNELS 0, WITHIN_CHANNEL 1",
    "LRNParameter.Engine": "DEFAULT 0, CAFFE 1, CUDNN 2",
    "PoolingParameter.PoolMethod": "MAX 0, AVE 1, STOCHASTIC 2",
    "PoolingParameter.Engine": "DEFAULT 0, CAFFE 1, CUDNN 2",
    "PoolingParameter.RoundMode": "CEIL 0, FLOOR 1",
    "ReductionParameter.ReductionOp": "SUM 1, ASUM 2, SUMSQ 3, MEAN 4",
    "ReLUParameter.Engine": "DEFAULT 0, CAFFE 1, CUDNN 2",
    "SigmoidParameter.Engine": "DEFAULT 0, CAFFE 1, CUDNN 2",
    "SoftmaxParameter.Engine": "DEFAULT 0, CAFFE 1, CUDNN 2",
    "TanHParameter.Engine": "DEFAULT 0, CAFFE 1, CUDNN 2",
    "SPPParameter.PoolMethod": "MAX 0, AVE 1, STOCHASTIC 2",
    "SPPParameter.Engine": "DEFAULT 0, CAFFE 1, CUDNN 2",
    "V1LayerParameter.LayerType": (
        "NONE 0, ABSVAL 35, ACCURACY 1, ARGMAX 30, BNLL 2, CONCAT 3, "
        "CONTRASTIVE_LOSS 37, CONVOLUTION 4, DATA 5, DECONVOLUTION 39, DROPOUT 6, "
        "DUMMY_DATA 32, EUCLIDEAN_LOSS 7, ELTWISE 25, EXP 38, FLATTEN 8, HDF5_DATA 9, "
        "HDF5_OUTPUT 10, HINGE_LOSS 28, IM2COL 11, IMAGE_DATA 12, INFOGAIN_LOSS 13, "
        "INNER_PRODUCT 14, LRN 15, MEMORY_DATA 29, MULTINOMIAL_LOGISTIC_LOSS 16, "
        "MVN 34, POOLING 17, POWER 26, RELU 18, SIGMOID 19, "
        "SIGMOID_CROSS_ENTROPY_LOSS 27, SILENCE 36, SOFTMAX 20, SOFTMAX_LOSS 21, "
        "SPLIT 22, SLICE 33, TANH 23, WINDOW_DATA 24, THRESHOLD 31"
    ),
    "V1LayerParameter.DimCheckMode": "STRICT 0, PERMISSIVE 1",
    "V0LayerParameter.PoolMethod": "MAX 0, AVE 1, STOCHASTIC 2",
    "SolverParameter.SnapshotFormat": "HDF5 0, BINARYPROTO 1",
    "SolverParameter.SolverMode": "CPU 0, GPU 1",
    "SolverParameter.SolverType": ("SGD 0, NESTEROV 1, ADAGRAD 2, RMSPROP 3, ADADELTA 4, ADAM 5"),
    "RawType": "DOUBLE 0, FLOAT 1, FLOAT16 2, INT 3, UINT 4",
}

MESSAGES: dict[str, str] = {
    "BlobShape": """
        dim int64+ 1;
    """,
    "BlobProto": """
        num int32 1 = 0; channels int32 2 = 0; height int32 3 = 0; width int32 4 = 0;
        data float+ 5; diff float+ 6; shape BlobShape 7; double_data double+ 8;
        double_diff double+ 9; raw_data_type RawType 10; raw_diff_type RawType 11;
        raw_data bytes 12; raw_diff bytes 13;
    """,
    "BlobProtoVector": """
        blobs BlobProto* 1;
    """,
    "SolverParameter": """
        train_net string 1; test_net string* 2; test_iter int32* 3; test_interval int32 4 = 0;
        base_lr float 5; display int32 6; max_iter int32 7; lr_policy string 8; gamma float 9;
        power float 10; momentum float 11; weight_decay float 12; stepsize int32 13;
        snapshot int32 14 = 0; snapshot_prefix string 15; snapshot_diff bool 16 = false;
        solver_mode SolverParameter.SolverMode 17 = GPU; device_id int32 18 = 0;
        test_compute_loss bool 19 = false; random_seed int64 20 = -1;
        train_net_param NetParameter 21; test_net_param NetParameter* 22;
        debug_info bool 23 = false; net string 24; net_param NetParameter 25;
        train_state NetState 26; test_state NetState* 27; snapshot_after_train bool 28 = true;
        regularization_type string 29 = L2;
        solver_type SolverParameter.SolverType 30 = SGD; delta float 31 = 1e-8;
        test_initialization bool 32 = true; average_loss int32 33 = 1; stepvalue int32* 34;
        clip_gradients float 35 = -1; iter_size int32 36 = 1;
        snapshot_format SolverParameter.SnapshotFormat 37 = BINARYPROTO;
        rms_decay float 38 = 0.99; momentum2 float 39 = 0.999; type string 40 = SGD;
        layer_wise_reduce bool 41 = true; weights string* 42;
    """,
    "SolverState": """
        iter int32 1; learned_net string 2; history BlobProto* 3; current_step int32 4 = 0;
    """,
    "Datum": """
        channels int32 1; height int32 2; width int32 3; data bytes 4; label int32 5;
        float_data float* 6; encoded bool 7 = false;
    """,
    "NormalizedBBox": """
        xmin float 1; ymin float 2; xmax float 3; ymax float 4; label int32 5; difficult bool 6;
        score float 7; size float 8;
    """,
    "Annotation": """
        instance_id int32 1 = 0; bbox NormalizedBBox 2;
    """,
    "AnnotationGroup": """
        group_label int32 1; annotation Annotation* 2;
    """,
    "AnnotatedDatum": """
        datum Datum 1; type AnnotatedDatum.AnnotationType 2; annotation_group AnnotationGroup* 3;
    """,
    "FillerParameter": """
        type string 1 = 'constant'; value float 2 = 0; min float 3 = 0; max float 4 = 1;
        mean float 5 = 0; std float 6 = 1; sparse int32 7 = -1;
        variance_norm FillerParameter.VarianceNorm 8 = FAN_IN;
    """,
    "NetParameter": """
        name string 1; layers V1LayerParameter* 2; input string* 3; input_dim int32* 4;
        force_backward bool 5 = false; state NetState 6; debug_info bool 7 = false;
        input_shape BlobShape* 8; layer LayerParameter* 100;
    """,
    "NetState": """
        phase Phase 1 = TEST; level int32 2 = 0; stage string* 3;
    """,
    "NetStateRule": """
        phase Phase 1; min_level int32 2; max_level int32 3; stage string* 4;
        not_stage string* 5;
    """,
    "ParamSpec": """
        name string 1; share_mode ParamSpec.DimCheckMode 2; lr_mult float 3 = 1.0;
        decay_mult float 4 = 1.0;
    """,
    "LayerParameter": """
        name string 1; type string 2; bottom string* 3; top string* 4; loss_weight float* 5;
        param ParamSpec* 6; blobs BlobProto* 7; include NetStateRule* 8;
        exclude NetStateRule* 9; phase Phase 10; propagate_down bool* 11;
        transform_param TransformationParameter 100; loss_param LossParameter 101;
        accuracy_param AccuracyParameter 102; argmax_param ArgMaxParameter 103;
        concat_param ConcatParameter 104;
        contrastive_loss_param ContrastiveLossParameter 105;
        convolution_param ConvolutionParameter 106; data_param DataParameter 107;
        dropout_param DropoutParameter 108; dummy_data_param DummyDataParameter 109;
        eltwise_param EltwiseParameter 110; exp_param ExpParameter 111;
        hdf5_data_param HDF5DataParameter 112; hdf5_output_param HDF5OutputParameter 113;
        hinge_loss_param HingeLossParameter 114; image_data_param ImageDataParameter 115;
        infogain_loss_param InfogainLossParameter 116;
        inner_product_param InnerProductParameter 117; lrn_param LRNParameter 118;
        memory_data_param MemoryDataParameter 119; mvn_param MVNParameter 120;
        pooling_param PoolingParameter 121; power_param PowerParameter 122;
        relu_param ReLUParameter 123; sigmoid_param SigmoidParameter 124;
        softmax_param SoftmaxParameter 125; slice_param SliceParameter 126;
        tanh_param TanHParameter 127; threshold_param ThresholdParameter 128;
        window_data_param WindowDataParameter 129; python_param PythonParameter 130;
        prelu_param PReLUParameter 131; spp_param SPPParameter 132;
        reshape_param ReshapeParameter 133; log_param LogParameter 134;
        flatten_param FlattenParameter 135; reduction_param ReductionParameter 136;
        embed_param EmbedParameter 137; tile_param TileParameter 138;
        batch_norm_param BatchNormParameter 139; elu_param ELUParameter 140;
        bias_param BiasParameter 141; scale_param ScaleParameter 142;
        input_param InputParameter 143; crop_param CropParameter 144;
        parameter_param ParameterParameter 145; recurrent_param RecurrentParameter 146;
        swish_param SwishParameter 147; clip_param ClipParameter 148;
    """,
    "TransformationParameter": """
        scale float 1 = 1; mirror bool 2 = false; crop_size uint32 3 = 0; mean_file string 4;
        mean_value float* 5; force_color bool 6 = false; force_gray bool 7 = false;
    """,
    "LossParameter": """
        ignore_label int32 1; normalize bool 2;
        normalization LossParameter.NormalizationMode 3 = VALID;
    """,
    "AccuracyParameter": """
        top_k uint32 1 = 1; axis int32 2 = 1; ignore_label int32 3;
    """,
    "ArgMaxParameter": """
        out_max_val bool 1 = false; top_k uint32 2 = 1; axis int32 3;
    """,
    "ClipParameter": """
        min float 1; max float 2;
    """,
    "ConcatParameter": """
        concat_dim uint32 1 = 1; axis int32 2 = 1;
    """,
    "BatchNormParameter": """
        use_global_stats bool 1; moving_average_fraction float 2 = .999; eps float 3 = 1e-5;
    """,
    "BiasParameter": """
        axis int32 1 = 1; num_axes int32 2 = 1; filler FillerParameter 3;
    """,
    "ContrastiveLossParameter": """
        margin float 1 = 1.0; legacy_version bool 2 = false;
    """,
    "ConvolutionParameter": """
        num_output uint32 1; bias_term bool 2 = true; pad uint32* 3; kernel_size uint32* 4;
        group uint32 5 = 1; stride uint32* 6; weight_filler FillerParameter 7;
        bias_filler FillerParameter 8; pad_h uint32 9 = 0; pad_w uint32 10 = 0;
        kernel_h uint32 11; kernel_w uint32 12; stride_h uint32 13; stride_w uint32 14;
        engine ConvolutionParameter.Engine 15 = DEFAULT; axis int32 16 = 1;
        force_nd_im2col bool 17 = false; dilation uint32* 18;
    """,
    "CropParameter": """
        axis int32 1 = 2; offset uint32* 2;
    """,
    "DataParameter": """
        source string 1; scale float 2 = 1; mean_file string 3; batch_size uint32 4;
        crop_size uint32 5 = 0; mirror bool 6 = false; rand_skip uint32 7 = 0;
        backend DataParameter.DB 8 = LEVELDB; force_encoded_color bool 9 = false;
        prefetch uint32 10 = 4;
    """,
    "DropoutParameter": """
        dropout_ratio float 1 = 0.5;
    """,
    "DummyDataParameter": """
        data_filler FillerParameter* 1; num uint32* 2; channels uint32* 3; height uint32* 4;
        width uint32* 5; shape BlobShape* 6;
    """,
    "EltwiseParameter": """
        operation EltwiseParameter.EltwiseOp 1 = SUM; coeff float* 2;
        stable_prod_grad bool 3 = true;
    """,
    "ELUParameter": """
        alpha float 1 = 1;
    """,
    "EmbedParameter": """
        num_output uint32 1; input_dim uint32 2; bias_term bool 3 = true;
        weight_filler FillerParameter 4; bias_filler FillerParameter 5;
    """,
    "ExpParameter": """
        base float 1 = -1.0; scale float 2 = 1.0; shift float 3 = 0.0;
    """,
    "FlattenParameter": """
        axis int32 1 = 1; end_axis int32 2 = -1;
    """,
    "HDF5DataParameter": """
        source string 1; batch_size uint32 2; shuffle bool 3 = false;
    """,
    "HDF5OutputParameter": """
        file_name string 1;
    """,
    "HingeLossParameter": """
        norm HingeLossParameter.Norm 1 = L1;
    """,
    "ImageDataParameter": """
        source string 1; scale float 2 = 1; mean_file string 3; batch_size uint32 4 = 1;
        crop_size uint32 5 = 0; mirror bool 6 = false; rand_skip uint32 7 = 0;
        shuffle bool 8 = false; new_height uint32 9 = 0; new_width uint32 10 = 0;
        is_color bool 11 = true; root_folder string 12;
    """,
    "InfogainLossParameter": """
        source string 1; axis int32 2 = 1;
    """,
    "InnerProductParameter": """
        num_output uint32 1; bias_term bool 2 = true; weight_filler FillerParameter 3;
        bias_filler FillerParameter 4; axis int32 5 = 1; transpose bool 6 = false;
    """,
    "InputParameter": """
        shape BlobShape* 1;
    """,
    "LogParameter": """
        base float 1 = -1.0; scale float 2 = 1.0; shift float 3 = 0.0;
    """,
    "LRNParameter": """
        local_size uint32 1 = 5; alpha float 2 = 1.; beta float 3 = 0.75;
        norm_region LRNParameter.NormRegion 4 = ACROSS_CHANNELS; k float 5 = 1.;
        engine LRNParameter.Engine 6 = DEFAULT;
    """,
    "MemoryDataParameter": """
        batch_size uint32 1; channels uint32 2; height uint32 3; width uint32 4;
    """,
    "MVNParameter": """
        normalize_variance bool 1 = true; across_channels bool 2 = false; eps float 3 = 1e-9;
    """,
    "ParameterParameter": """
        shape BlobShape 1;
    """,
    "PoolingParameter": """
        pool PoolingParameter.PoolMethod 1 = MAX; kernel_size uint32 2; stride uint32 3 = 1;
        pad uint32 4 = 0; kernel_h uint32 5; kernel_w uint32 6; stride_h uint32 7;
        stride_w uint32 8; pad_h uint32 9 = 0; pad_w uint32 10 = 0;
        engine PoolingParameter.Engine 11 = DEFAULT; global_pooling bool 12 = false;
        round_mode PoolingParameter.RoundMode 13 = CEIL;
    """,
    "PowerParameter": """
        power float 1 = 1.0; scale float 2 = 1.0; shift float 3 = 0.0;
    """,
    "PythonParameter": """
        module string 1; layer string 2; param_str string 3;
        share_in_parallel bool 4 = false;
    """,
    "RecurrentParameter": """
        num_output uint32 1 = 0; weight_filler FillerParameter 2;
        bias_filler FillerParameter 3; debug_info bool 4 = false;
        expose_hidden bool 5 = false;
    """,
    "ReductionParameter": """
        operation ReductionParameter.ReductionOp 1 = SUM; axis int32 2 = 0;
        coeff float 3 = 1.0;
    """,
    "ReLUParameter": """
        negative_slope float 1 = 0; engine ReLUParameter.Engine 2 = DEFAULT;
    """,
    "ReshapeParameter": """
        shape BlobShape 1; axis int32 2 = 0; num_axes int32 3 = -1;
    """,
    "ScaleParameter": """
        axis int32 1 = 1; num_axes int32 2 = 1; filler FillerParameter 3;
        bias_term bool 4 = false; bias_filler FillerParameter 5;
    """,
    "SigmoidParameter": """
        engine SigmoidParameter.Engine 1 = DEFAULT;
    """,
    "SliceParameter": """
        slice_dim uint32 1 = 1; slice_point uint32* 2; axis int32 3 = 1;
    """,
    "SoftmaxParameter": """
        engine SoftmaxParameter.Engine 1 = DEFAULT; axis int32 2 = 1;
    """,
    "SwishParameter": """
        beta float 1 = 1;
    """,
    "TanHParameter": """
        engine TanHParameter.Engine 1 = DEFAULT;
    """,
    "TileParameter": """
        axis int32 1 = 1; tiles int32 2;
    """,
    "ThresholdParameter": """
        threshold float 1 = 0;
    """,
    "WindowDataParameter": """
        source string 1; scale float 2 = 1; mean_file string 3; batch_size uint32 4;
        crop_size uint32 5 = 0; mirror bool 6 = false; fg_threshold float 7 = 0.5;
        bg_threshold float 8 = 0.5; fg_fraction float 9 = 0.25; context_pad uint32 10 = 0;
        crop_mode string 11 = warp; cache_images bool 12 = false; root_folder string 13;
    """,
    "SPPParameter": """
        pyramid_height uint32 1; pool SPPParameter.PoolMethod 2 = MAX;
        engine SPPParameter.Engine 6 = DEFAULT;
    """,
    "V1LayerParameter": """
        layer V0LayerParameter 1; bottom string* 2; top string* 3; name string 4;
        type V1LayerParameter.LayerType 5; blobs BlobProto* 6; blobs_lr float* 7;
        weight_decay float* 8; concat_param ConcatParameter 9;
        convolution_param ConvolutionParameter 10; data_param DataParameter 11;
        dropout_param DropoutParameter 12; hdf5_data_param HDF5DataParameter 13;
        hdf5_output_param HDF5OutputParameter 14; image_data_param ImageDataParameter 15;
        infogain_loss_param InfogainLossParameter 16;
        inner_product_param InnerProductParameter 17; lrn_param LRNParameter 18;
        pooling_param PoolingParameter 19; window_data_param WindowDataParameter 20;
        power_param PowerParameter 21; memory_data_param MemoryDataParameter 22;
        argmax_param ArgMaxParameter 23; eltwise_param EltwiseParameter 24;
        threshold_param ThresholdParameter 25; dummy_data_param DummyDataParameter 26;
        accuracy_param AccuracyParameter 27; hinge_loss_param HingeLossParameter 29;
        relu_param ReLUParameter 30; slice_param SliceParameter 31; include NetStateRule* 32;
        exclude NetStateRule* 33; mvn_param MVNParameter 34; loss_weight float* 35;
        transform_param TransformationParameter 36; tanh_param TanHParameter 37;
        sigmoid_param SigmoidParameter 38; softmax_param SoftmaxParameter 39;
        contrastive_loss_param ContrastiveLossParameter 40; exp_param ExpParameter 41;
        loss_param LossParameter 42; param string* 1001;
        blob_share_mode V1LayerParameter.DimCheckMode* 1002;
    """,
    "V0LayerParameter": """
        name string 1; type string 2; num_output uint32 3; biasterm bool 4 = true;
        weight_filler FillerParameter 5; bias_filler FillerParameter 6; pad uint32 7 = 0;
        kernelsize uint32 8; group uint32 9 = 1; stride uint32 10 = 1;
        pool V0LayerParameter.PoolMethod 11 = MAX; dropout_ratio float 12 = 0.5;
        local_size uint32 13 = 5; alpha float 14 = 1.; beta float 15 = 0.75;
        source string 16; scale float 17 = 1; meanfile string 18; batchsize uint32 19;
        cropsize uint32 20 = 0; mirror bool 21 = false; k float 22 = 1.; blobs BlobProto* 50;
        blobs_lr float* 51; weight_decay float* 52; rand_skip uint32 53 = 0;
        det_fg_threshold float 54 = 0.5; det_bg_threshold float 55 = 0.5;
        det_fg_fraction float 56 = 0.25; det_context_pad uint32 58 = 0;
        det_crop_mode string 59 = warp; new_num int32 60 = 0; new_channels int32 61 = 0;
        new_height int32 62 = 0; new_width int32 63 = 0; shuffle_images bool 64 = false;
        concat_dim uint32 65 = 1; hdf5_output_param HDF5OutputParameter 1001;
    """,
    "PReLUParameter": """
        filler FillerParameter 1; channel_shared bool 2 = false;
    """,
}
